// A server of orders.v1.Orders with this library's strategy in its own process: node orders-nest.mjs '{ "port": 0, … }'. upstream.ts
// describes its arguments, responses, and log. Unlike orders-grpc-js.mjs, this server serves only Get and Create, has no queue, and does
// not log the ends of calls.
import 'reflect-metadata';
import { appendFileSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ServerCredentials, status } from '@grpc/grpc-js';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, RpcException } from '@nestjs/microservices';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';

const { port, standby, log, delayMs, drainMs, serverOptions, tls } = JSON.parse(process.argv[2]);
let sequence = 0;

async function answer(call, metadata, what, key) {
  const previous = Number(metadata.get('grpc-previous-rpc-attempts')[0] ?? 0);
  appendFileSync(log, `${Date.now()} ${what} ${key} ${previous} ${call.getPeer()}\n`);
  const [, code, times = Infinity] = key.split('/');
  await pause(delayMs);
  const fails = code !== undefined && previous < Number(times);
  if (fails && code === 'NEVER') return new Promise(() => undefined);
  if (fails) throw new RpcException({ code: status[code], message: `requested by ${key}` });
  return { id: key, requestId: key, item: String(process.pid), sequence: ++sequence };
}

class Orders {
  get({ id }, metadata, call) {
    return answer(call, metadata, 'Get', id);
  }

  create({ requestId }, metadata, call) {
    return answer(call, metadata, 'Create', requestId);
  }
}
// Applies decorators by hand, because this file is not TypeScript.
const decorate = (name, method) =>
  GrpcMethod('Orders', name)(Orders.prototype, method, Object.getOwnPropertyDescriptor(Orders.prototype, method));
Controller()(Orders);
decorate('Get', 'get');
decorate('Create', 'create');

const pair = () => ({ private_key: readFileSync(tls.key), cert_chain: readFileSync(tls.cert) });

class AppModule {}
Module({
  imports: [
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
      loader: { longs: String },
      url: `127.0.0.1:${port}`,
      drain: { timeoutMs: drainMs },
      channelOptions: serverOptions,
      ...(tls && { credentials: ServerCredentials.createSsl(null, [pair()]) }),
    }),
  ],
  controllers: [Orders],
})(AppModule);

const strategy = { useFactory: (server) => ({ strategy: server }), inject: [ResilientGrpcServer], logger: false };
const app = await NestFactory.createMicroservice(AppModule, strategy);

async function listen() {
  await app.listen();
  process.send({ listening: app.get(ResilientGrpcServer).port });
  process.send({ boundAt: Date.now() });
}

if (standby) {
  // ChildServer has unreferenced the IPC channel of this process. Without a reference, the process would exit while it waits.
  process.channel.ref();
  process.once('message', ({ listenAt }) => setTimeout(listen, listenAt - Date.now()));
  process.send({ listening: port });
} else {
  await listen();
}
process.once('SIGTERM', () => void app.close().then(() => process.exit(0)));
