// A server of orders.v1.Orders in its own process, with this library's strategy or Nest's ('theirs'):
//   node server-process.mjs '{ "side": "ours", "port": 50051, "log": FILE, "standby": true }'
// Get and Watch answer with as many bytes as the request says. Writes are logged before they are answered, so that they are counted even if
// the process is killed. In standby, it waits for { listenAt } over IPC, so that the downtime does not depend on the time that Nest takes.
import 'reflect-metadata';
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Transport } from '@nestjs/microservices';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';

const { side, port, log, standby } = JSON.parse(process.argv[2]);
const HANDLER_MS = 5;
const EVENTS = 5;

class Orders {
  async get({ id }) {
    await pause(HANDLER_MS);
    return { id, item: 'x'.repeat(Number(id)) };
  }

  async create({ requestId }) {
    appendFileSync(log, `${requestId}\n`);
    await pause(HANDLER_MS);
    return { requestId };
  }

  async *watch({ from }) {
    const order = { item: 'x'.repeat(Number(from) / EVENTS) };
    for (let sequence = 1; sequence <= EVENTS; sequence += 1) {
      await pause(HANDLER_MS);
      yield { sequence, order };
    }
  }
}
// Applies decorators by hand, because this file is not TypeScript.
for (const name of ['get', 'create', 'watch']) {
  const descriptor = Object.getOwnPropertyDescriptor(Orders.prototype, name);
  GrpcMethod('Orders', `${name[0].toUpperCase()}${name.slice(1)}`)(Orders.prototype, name, descriptor);
}
Controller()(Orders);

const options = {
  package: 'orders.v1',
  protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
  loader: { longs: String },
  url: `127.0.0.1:${port}`,
};
class AppModule {}
const isOurs = side === 'ours';
Module({ imports: isOurs ? [ResilientGrpcServerModule.forRoot(options)] : [], controllers: [Orders] })(AppModule);
const app = await NestFactory.createMicroservice(AppModule, {
  ...(isOurs
    ? { useFactory: (strategy) => ({ strategy }), inject: [ResilientGrpcServer] }
    : { transport: Transport.GRPC, options }),
  logger: false,
});

async function listen() {
  await app.listen();
  process.send({ listening: port });
  process.send({ isListening: true });
}

if (standby) {
  // ChildServer has unreferenced the IPC channel of this process. Without a reference, the process would exit while it waits.
  process.channel.ref();
  process.once('message', ({ listenAt }) => setTimeout(listen, listenAt - Date.now()));
  process.send({ listening: port });
} else {
  await listen();
}
