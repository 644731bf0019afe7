// A Nest application with ResilientGrpcServer that serves orders.v1.Orders in its own process:
//   node orders-app.mjs --port 0 [--options JSON] [--tls] [--hybrid] [--busy MS] [--upstream URL [--clients JSON]]
// On SIGTERM, the program closes the application; a hybrid application is closed by Nest. The process must then exit on its own, and it
// prints the time since SIGTERM when it exits. Over IPC, it reports the HTTP port of a hybrid application and the reason why each
// connection ended. On the message 'release', it ends held calls; on any other message, it reports the numbers of open streams, of
// sockets, and of attempts.
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ServerCredentials } from '@grpc/grpc-js';
import { Controller, Get, Inject, Module, Optional } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod } from '@nestjs/microservices';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { Observable, firstValueFrom } from 'rxjs';
import { block } from '../../support/block.mjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    options: { type: 'string', default: '{}' },
    tls: { type: 'boolean', default: false },
    hybrid: { type: 'boolean', default: false },
    busy: { type: 'string', default: '0' },
    upstream: { type: 'string' },
    clients: { type: 'string', default: '{}' },
  },
});
const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const pem = (name) => readFileSync(file(`fixtures/tls/${name}.pem`));

/** Number of calls to Get whose handler ran. */
let handled = 0;

/** Callbacks that end the calls held until the next 'release' message. */
const held = [];

class Orders {
  constructor(upstream) {
    this.upstream = upstream;
  }

  // Blocks the event loop for `--busy` milliseconds. Then waits 300 ms if the id is 'slow:300', or until the next 'release' message if the id is
  // 'held'. Responds with the order, or with the order of the upstream if an upstream is configured.
  get({ id }) {
    handled += 1;
    block(Number(values.busy));
    const ms = Number(/^slow:(\d+)$/.exec(id)?.[1] ?? 0);
    const answered = new Promise((resolve) => {
      if (id === 'held') held.push(() => resolve({ id }));
      else setTimeout(resolve, ms, { id });
    });
    if (this.upstream === undefined) return answered;
    return answered.then(() => firstValueFrom(this.upstream.getService('Orders').get({ id: `${id} of upstream` })));
  }

  // Emits as many events as the client reads if `from` is 1; otherwise, emits one event and stays open.
  watch({ from }) {
    if (String(from) === '1') return flood();
    return new Observable((subscriber) => subscriber.next({ sequence: 1 }));
  }

  // Echoes each request.
  session(requests) {
    return requests;
  }
}

async function* flood() {
  const item = 'x'.repeat(64 * 1024);
  for (let sequence = 1; ; sequence += 1) yield { sequence, order: { item } };
}

Optional()(Orders, undefined, 0);
Inject(getGrpcClientToken('upstream'))(Orders, undefined, 0);
// Applies decorators as functions, because this file is plain JavaScript.
const decorate = (decorator, target, name) =>
  decorator(target.prototype, name, Object.getOwnPropertyDescriptor(target.prototype, name));
Controller()(Orders);
decorate(GrpcMethod('Orders', 'Get'), Orders, 'get');
decorate(GrpcMethod('Orders', 'Watch'), Orders, 'watch');
decorate(GrpcStreamMethod('Orders', 'Session'), Orders, 'session');

class Pages {
  never() {
    return new Promise(() => undefined);
  }
}
Controller()(Pages);
decorate(Get('never'), Pages, 'never');

const protoPath = file('../protos/orders.proto');
const upstream = { name: 'upstream', protoPath, url: values.upstream };

class AppModule {}
Module({
  imports: [
    ...(values.upstream
      ? [ResilientGrpcModule.forRoot({ drain: JSON.parse(values.clients) }), ResilientGrpcModule.forFeature([upstream])]
      : []),
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      protoPath,
      url: `127.0.0.1:${values.port}`,
      ...(values.tls
        ? {
            credentials: ServerCredentials.createSsl(null, [
              { private_key: pem('server-key'), cert_chain: pem('server') },
            ]),
          }
        : {}),
      ...JSON.parse(values.options),
    }),
  ],
  controllers: [Orders, Pages],
})(AppModule);

async function start() {
  if (!values.hybrid) {
    const strategy = { useFactory: (strategy) => ({ strategy }), inject: [ResilientGrpcServer] };
    const app = await NestFactory.createMicroservice(AppModule, strategy);
    await app.listen();
    return { app };
  }
  const app = await NestFactory.create(AppModule);
  app.enableShutdownHooks();
  app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) }, { inheritAppConfig: true });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  return { app, http: app.getHttpServer().address().port };
}

const { app, http } = await start();
const server = app.get(ResilientGrpcServer);
const send = (message) => process.connected && process.send(message);
server.events$.subscribe((event) => event.type === 'connection-end' && send(event));
process.on('message', (message) => {
  if (message === 'release') {
    for (const answer of held.splice(0)) answer();
    return;
  }
  const sockets = process.getActiveResourcesInfo().filter((type) => type === 'TCPSocketWrap').length;
  send({ streams: server.activeStreams().length, sockets, attempts: handled + server.overload().shed });
});
// The IPC channel must not keep the process from exiting.
process.channel?.unref();

let signaledAt;
process.on('SIGTERM', () => {
  signaledAt ??= performance.now();
  console.log('SIGTERM');
  if (!values.hybrid) void app.close();
});
process.on('exit', () => {
  if (signaledAt !== undefined) console.log(`exited after ${Math.round(performance.now() - signaledAt)} ms`);
});
if (http !== undefined) send({ http });
console.log(`listening on 127.0.0.1:${server.port}`);
