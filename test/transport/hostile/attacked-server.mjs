// A Nest application in its own process, with this library's server or Nest's ('theirs'):
//   node --expose-gc attacked-server.mjs --server ours --port 0 --tls --options JSON
// Get answers at once, Create after 5 s or, for the item 'canary', at once, Watch with as many events as `from` says, Upload counts its
// messages, and Session answers each one. On an IPC message, the process reports what it has used and what it holds.
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ServerCredentials } from '@grpc/grpc-js';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod, Transport } from '@nestjs/microservices';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { count, from as fromAsync, map } from 'rxjs';
import { processReport } from './process-report.mjs';

const { values } = parseArgs({
  options: {
    server: { type: 'string', default: 'ours' },
    port: { type: 'string', default: '0' },
    tls: { type: 'boolean', default: false },
    options: { type: 'string', default: '{}' },
  },
});
const pem = (name) => readFileSync(new URL(`../../fixtures/tls/${name}.pem`, import.meta.url));
const key = {
  private_key: values.tls ? pem('server-key') : undefined,
  cert_chain: values.tls ? pem('server') : undefined,
};
const options = {
  package: 'orders.v1',
  protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
  url: `127.0.0.1:${values.port}`,
  ...(values.tls && { credentials: ServerCredentials.createSsl(null, [key]) }),
  ...JSON.parse(values.options),
};

let created = 0;
let written = 0;
let running = 0;
let mostRunning = 0;

const isOurs = values.server === 'ours';
async function* eventsOf(count) {
  const order = { item: 'x'.repeat(1_000) };
  for (let sequence = 1; sequence <= count; sequence++) yield { sequence, order };
}

class Orders {
  get({ id }) {
    return { id };
  }

  async create({ item }) {
    if (item === 'canary') written += 1;
    else {
      created += 1;
      running += 1;
      mostRunning = Math.max(mostRunning, running);
      await pause(5_000);
      running -= 1;
    }
    return {};
  }

  watch({ from }) {
    // Nest's server does not iterate a generator: it would send one empty message.
    return isOurs ? eventsOf(Number(from)) : fromAsync(eventsOf(Number(from)));
  }

  upload(requests) {
    return requests.pipe(
      count(),
      map((received) => ({ count: received })),
    );
  }

  session(requests) {
    return requests.pipe(map(({ messageId }) => ({ messageId })));
  }
}
Controller()(Orders);
for (const [decorate, name] of [
  [GrpcMethod, 'get'],
  [GrpcMethod, 'create'],
  [GrpcMethod, 'watch'],
  [GrpcStreamMethod, 'upload'],
  [GrpcStreamMethod, 'session'],
]) {
  const descriptor = Object.getOwnPropertyDescriptor(Orders.prototype, name);
  decorate('Orders', `${name[0].toUpperCase()}${name.slice(1)}`)(Orders.prototype, name, descriptor);
  // GrpcStreamMethod replaces the function in the descriptor.
  Object.defineProperty(Orders.prototype, name, descriptor);
}

class AppModule {}
Module({ imports: isOurs ? [ResilientGrpcServerModule.forRoot(options)] : [], controllers: [Orders] })(AppModule);
const app = isOurs
  ? await NestFactory.createMicroservice(AppModule, {
      useFactory: (strategy) => ({ strategy }),
      inject: [ResilientGrpcServer],
    })
  : await NestFactory.createMicroservice(AppModule, { transport: Transport.GRPC, options });
await app.listen();
const server = isOurs ? app.get(ResilientGrpcServer) : undefined;

process.on('message', async ({ collects }) => {
  // Nest's server does not say what it holds.
  const held = { streams: server?.activeStreams().length ?? 0, lingering: server?.lingeringHandlers ?? 0 };
  process.send?.({ ...(await processReport(collects)), ...held, created, written, mostRunning });
  mostRunning = running;
});
process.once('disconnect', () => process.exit(0));
process.send?.({ listening: Number(values.port) });
