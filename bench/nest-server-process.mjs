// A server under test, in a separate process: node nest-server-process.mjs SERVER WORK [OPTIONS]
//   SERVER   resilient-grpc, nest, or grpc-js (only without work)
//   WORK     none                returns the same order for every call, from the shortest possible handler
//            sync:MS             uses the CPU for MS milliseconds
//            pool:SIZE:MS        waits for one of SIZE slots, and holds it for MS milliseconds, like a database connection
//            wait:WAIT:MS        waits for WAIT milliseconds, then uses the CPU for MS milliseconds
//   OPTIONS  additional options of the server as JSON
// The id of a request is the deadline of its call in milliseconds since 1970, or Infinity, so that the handler can count expired calls.
import 'reflect-metadata';
import { setTimeout as wait } from 'node:timers/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod, Transport } from '@nestjs/microservices';
import { interval, map, range, reduce } from 'rxjs';
import { freePort } from '../test/support/free-port.mjs';
import { executeCommands } from './child.mjs';
import { ORDER, PROTO_PACKAGE, PROTO_PATH } from './contract.mjs';
import { loadService } from './load-contract.mjs';

const [name, work = '', given = '{}'] = process.argv.slice(2);
const [kind, first = 0, second = 0] = work.split(':').map((part, index) => (index === 0 ? part : Number(part)));

/** Interval between the messages of a response stream in milliseconds. */
const MESSAGE_INTERVAL_MS = 50;

/** @param {number} ms */
function useCpu(ms) {
  const before = process.cpuUsage();
  const usedMs = () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };
  while (usedMs() < ms);
}

let free = Number(first);
/** @type {(() => void)[]} */
const waiting = [];

/** @param {number} ms */
async function useSlot(ms) {
  if (free > 0) free -= 1;
  else await new Promise((resolve) => waiting.push(() => resolve(undefined)));
  await wait(ms);
  const next = waiting.shift();
  if (next === undefined) free += 1;
  else next();
}

/** @type {Readonly<Record<string, () => unknown>>} */
const WORK = {
  sync: () => {
    useCpu(Number(first));
  },
  pool: () => useSlot(Number(second)),
  wait: async () => {
    await wait(Number(first));
    useCpu(Number(second));
  },
};
const doWork = WORK[String(kind)];
if (doWork === undefined && kind !== 'none') throw new Error(`expected none, sync, pool, or wait, got ${work}`);

let handled = 0;
let handledLate = 0;

class TestedController {
  /** Sends `count` messages; without a count, one message at a time for ever. */
  watch({ count, size }) {
    if (!count) return interval(MESSAGE_INTERVAL_MS).pipe(map((number) => ({ number: number + 1 })));
    const chunk = { data: Buffer.alloc(size, 'x') };
    return range(count).pipe(map(() => chunk));
  }
  upload(chunks) {
    return chunks.pipe(
      reduce((count) => count + 1, 0),
      map((count) => ({ count })),
    );
  }
  echo(chunks) {
    return chunks;
  }
}
Controller()(TestedController);
const { prototype } = TestedController;
prototype.get =
  doWork === undefined
    ? () => ORDER
    : ({ id }) => {
        handled += 1;
        if (Date.now() >= Number(id)) handledLate += 1;
        const worked = doWork();
        return worked instanceof Promise ? worked.then(() => ({ id })) : { id };
      };
for (const [name, decorate] of [
  ['get', GrpcMethod('Bench', 'Get')],
  ['watch', GrpcMethod('Bench', 'Watch')],
  ['upload', GrpcStreamMethod('Bench', 'Upload')],
  ['echo', GrpcStreamMethod('Bench', 'Echo')],
]) {
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name);
  decorate(prototype, name, descriptor);
  // GrpcStreamMethod replaces the function in the descriptor.
  Object.defineProperty(prototype, name, descriptor);
}

// Picks a port, because Nest does not report its port. Does not use a Unix socket: its buffers are small, and Node reads nothing while it
// cannot write, so the two processes could wait for each other forever.
const url = `127.0.0.1:${String(await freePort())}`;
const options = { url, package: PROTO_PACKAGE, protoPath: PROTO_PATH, ...JSON.parse(given) };

/** @param {...import('@nestjs/common').DynamicModule} imports */
const moduleOf = (...imports) => ({ module: class TestedModule {}, controllers: [TestedController], imports });

/** @type {Readonly<Record<string, () => Promise<unknown>>>} */
const START = {
  async nest() {
    const app = await NestFactory.createMicroservice(moduleOf(), {
      transport: Transport.GRPC,
      options,
      logger: ['error'],
    });
    await app.listen();
  },
  async 'resilient-grpc'() {
    const { ResilientGrpcServer, ResilientGrpcServerModule } = await import('nestjs-resilient-grpc/server');
    const app = await NestFactory.createMicroservice(moduleOf(ResilientGrpcServerModule.forRoot(options)), {
      inject: [ResilientGrpcServer],
      /** @param {InstanceType<typeof ResilientGrpcServer>} strategy */
      useFactory: (strategy) => ({ strategy }),
      logger: ['error', 'warn'],
    });
    await app.listen();
  },
  'grpc-js': () =>
    new Promise((resolve, reject) => {
      const server = new Server();
      server.addService({ Get: loadService().Get }, { Get: (_call, callback) => callback(null, ORDER) });
      server.bindAsync(url, ServerCredentials.createInsecure(), (error) => {
        if (error) reject(error);
        else resolve(undefined);
      });
    }),
};

executeCommands({
  async listen() {
    await START[name]();
    return { address: url };
  },
  cpuUsage: () => process.cpuUsage(),
  /** Returns the numbers of handled calls and of late calls since the last `counts`. */
  counts() {
    const counts = { handled, handledLate };
    handled = handledLate = 0;
    return counts;
  },
});
