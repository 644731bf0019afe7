// A Nest application in its own process, with this library's server.
//   node --expose-gc attacked-server.mjs --port 0 --options JSON
// Get answers at once, Create after 5 s, Watch with as many events as `from` says, and Upload counts its messages. On an IPC message, the process
// reports its memory, the peak of it since the previous message, and what it holds.
import 'reflect-metadata';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod } from '@nestjs/microservices';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { count, map } from 'rxjs';
import { readMemory } from '../../../bench/memory.mjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    options: { type: 'string', default: '{}' },
  },
});
const options = {
  package: 'orders.v1',
  protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
  url: `127.0.0.1:${values.port}`,
  ...JSON.parse(values.options),
};

let created = 0;

class Orders {
  get({ id }) {
    return { id };
  }

  async create() {
    created += 1;
    await pause(5_000);
    return {};
  }

  async *watch({ from }) {
    const order = { item: 'x'.repeat(1_000) };
    for (let sequence = 1; sequence <= Number(from); sequence++) yield { sequence, order };
  }

  upload(requests) {
    return requests.pipe(
      count(),
      map((received) => ({ count: received })),
    );
  }
}
Controller()(Orders);
for (const [decorate, name] of [
  [GrpcMethod, 'get'],
  [GrpcMethod, 'create'],
  [GrpcMethod, 'watch'],
  [GrpcStreamMethod, 'upload'],
]) {
  const method = name[0].toUpperCase() + name.slice(1);
  decorate('Orders', method)(Orders.prototype, name, Object.getOwnPropertyDescriptor(Orders.prototype, name));
}

class AppModule {}
Module({ imports: [ResilientGrpcServerModule.forRoot(options)], controllers: [Orders] })(AppModule);
const app = await NestFactory.createMicroservice(AppModule, {
  useFactory: (strategy) => ({ strategy }),
  inject: [ResilientGrpcServer],
});
await app.listen();
const server = app.get(ResilientGrpcServer);

let peak = 0;
setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 50).unref();
process.on('message', () => {
  void readMemory().then(({ heap }) => {
    const sockets = process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const resident = process.memoryUsage.rss();
    const held = { sockets, streams: server.activeStreams().length, lingering: server.lingeringHandlers, created };
    process.send?.({ heap, resident, peak: Math.max(peak, resident), ...held });
    peak = 0;
  });
});
process.once('disconnect', () => process.exit(0));
console.log(`listening on 127.0.0.1:${server.port}`);
