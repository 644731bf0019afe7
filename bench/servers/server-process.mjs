// A server under test in a separate process: node server-process.mjs resilient-grpc|unprotected|nest|grpc-js
// All servers return the same response from the shortest possible handler. Their only options are the contract, the address, and, for this
// library's server, `overloadProtection`.
import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Transport } from '@nestjs/microservices';
import { ORDER_ID, PROTO_PACKAGE, PROTO_PATH } from '../contract.mjs';
import { loadService } from '../load-contract.mjs';

const ORDER = {
  id: ORDER_ID,
  customer: 'customer-7f3a9c52-11',
  totalCents: 129_900,
  note: 'Leave it with the neighbor on the second floor, please.',
};

class BenchController {
  get() {
    return ORDER;
  }
}
Controller()(BenchController);
const { prototype } = BenchController;
GrpcMethod('Bench', 'Get')(prototype, 'get', Object.getOwnPropertyDescriptor(prototype, 'get'));

// Uses a Unix socket, because Nest does not report the port it listens on.
const folder = mkdtempSync(join(tmpdir(), 'bench-'));
const url = `unix:${join(folder, 'grpc.sock')}`;
const options = { url, package: PROTO_PACKAGE, protoPath: PROTO_PATH };

/** @param {boolean} overloadProtection */
async function startOurs(overloadProtection) {
  const { ResilientGrpcServer, ResilientGrpcServerModule } = await import('nestjs-resilient-grpc/server');
  const module = moduleOf(ResilientGrpcServerModule.forRoot({ ...options, overloadProtection }));
  const app = await NestFactory.createMicroservice(module, {
    inject: [ResilientGrpcServer],
    /** @param {InstanceType<typeof ResilientGrpcServer>} strategy */
    useFactory: (strategy) => ({ strategy }),
    logger: ['error'],
  });
  await app.listen();
}

/** @type {Record<string, () => Promise<unknown>>} */
const START = {
  'resilient-grpc': () => startOurs(true),
  unprotected: () => startOurs(false),
  async nest() {
    const app = await NestFactory.createMicroservice(moduleOf(), {
      transport: Transport.GRPC,
      options,
      logger: ['error'],
    });
    await app.listen();
  },
  'grpc-js': () =>
    new Promise((resolve, reject) => {
      const server = new Server();
      const { Get } = loadService();
      server.addService(
        { Get },
        {
          /** @type {import('@grpc/grpc-js').handleUnaryCall<{ id: string }, typeof ORDER>} */
          Get(_call, callback) {
            callback(null, ORDER);
          },
        },
      );
      server.bindAsync(url, ServerCredentials.createInsecure(), (error) => {
        if (error) reject(error);
        else resolve(undefined);
      });
    }),
};

/**
 * @param {...import('@nestjs/common').DynamicModule} imports
 * @returns {import('@nestjs/common').DynamicModule}
 */
function moduleOf(...imports) {
  return { module: class BenchModule {}, controllers: [BenchController], imports };
}

const name = process.argv[2] ?? '';
const start = START[name];
if (start === undefined) {
  throw new Error(`server: expected one of ${Object.keys(START).join(', ')}, got ${JSON.stringify(name)}`);
}
await start();
process.on('message', () => process.send?.(process.cpuUsage()));
process.send?.({ address: url });

// Exits if the benchmark exits.
process.once('disconnect', () => {
  rmSync(folder, { recursive: true });
  process.exit();
});
// Ignores SIGINT, because Ctrl-C reaches the whole process group. The signal ends the benchmark, and this process then exits on
// 'disconnect'.
process.on('SIGINT', () => undefined);
