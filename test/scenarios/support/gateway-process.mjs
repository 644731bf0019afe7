// A gateway in its own process, in front of an upstream:
//   node gateway-process.mjs --port 0 --upstream URL [--client JSON] [--drain MS]
// Over HTTP, it serves GET /orders/:id, GET /peer/:id (calls another gateway), GET /feed (server-sent events), and three health routes.
// Over gRPC, it serves Get of orders.v1.Orders. It sends two kinds of messages over IPC: { grpc } with its gRPC address, and
// { retried: code } when an attempt to the upstream has failed and will be retried. It accepts { peer }, the gRPC address of the other
// gateway, to call the other gateway and to check its health.
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Controller, Get, Inject, Module, Param, Sse } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { GrpcClients, ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';
import {
  GrpcChannelHealthIndicator,
  GrpcReadinessHealthIndicator,
  GrpcServingHealthIndicator,
  ResilientGrpcHealthModule,
} from 'nestjs-resilient-grpc/health';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { firstValueFrom, map } from 'rxjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    upstream: { type: 'string' },
    client: { type: 'string', default: '{}' },
    drain: { type: 'string', default: '10000' },
  },
});
const protoPath = fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url));
const drain = { timeoutMs: Number(values.drain) };
const contract = { protoPath, package: 'orders.v1', loader: { longs: String } };
let peer;

// Applies decorators by hand, because this file is not TypeScript.
const decorate = (decorator, target, name) =>
  decorator(target.prototype, name, Object.getOwnPropertyDescriptor(target.prototype, name));

class Orders {
  constructor(upstream) {
    this.orders = upstream.getService('Orders');
  }

  get({ id }) {
    return this.orders.get({ id });
  }

  page(id) {
    return firstValueFrom(this.orders.get({ id }));
  }

  feed() {
    const watch = (from) => this.orders.watch({ from: String(from) });
    const feed = resumable(watch, { cursor: ({ sequence }) => BigInt(sequence), seed: 0n });
    return feed.pipe(map(({ sequence }) => ({ data: sequence })));
  }

  ofPeer(id) {
    return firstValueFrom(peer.getService('Orders').get({ id }));
  }
}
Inject(getGrpcClientToken('upstream'))(Orders, undefined, 0);
Controller()(Orders);
decorate(GrpcMethod('Orders', 'Get'), Orders, 'get');
decorate(Get('orders/:id'), Orders, 'page');
Param('id')(Orders.prototype, 'page', 0);
decorate(Sse('feed'), Orders, 'feed');
decorate(Get('peer/:id'), Orders, 'ofPeer');
Param('id')(Orders.prototype, 'ofPeer', 0);

class Health {
  constructor(health, readiness, channels, serving) {
    Object.assign(this, { health, readiness, channels, serving });
  }

  live() {
    return this.health.check([]);
  }

  ready() {
    return this.health.check([() => this.readiness.check()]);
  }

  dependencies() {
    const peers = peer === undefined ? [] : [() => this.serving.check('peer', { key: 'serving' })];
    return this.health.check([() => this.channels.checkAll(), ...peers]);
  }
}
const injected = [
  HealthCheckService,
  GrpcReadinessHealthIndicator,
  GrpcChannelHealthIndicator,
  GrpcServingHealthIndicator,
];
for (const [index, token] of injected.entries()) Inject(token)(Health, undefined, index);
Controller('health')(Health);
for (const route of ['live', 'ready', 'dependencies']) decorate(Get(route), Health, route);

class AppModule {}
Module({
  imports: [
    ResilientGrpcModule.forFeature([
      { ...contract, name: 'upstream', url: values.upstream, ...JSON.parse(values.client) },
    ]),
    ResilientGrpcModule.forRoot({ drain }),
    ResilientGrpcServerModule.forRoot({ ...contract, url: '127.0.0.1:0', drain }),
    ResilientGrpcHealthModule,
    TerminusModule.forRoot({ logger: false }),
  ],
  controllers: [Orders, Health],
})(AppModule);

const app = await NestFactory.create(AppModule, { logger: false });
app.enableShutdownHooks();
const server = app.get(ResilientGrpcServer, { strict: false });
app.connectMicroservice({ strategy: server }, { inheritAppConfig: true });
await app.startAllMicroservices();
await app.listen(Number(values.port), '127.0.0.1');
process.on('message', ({ peer: url }) => {
  peer = app.get(GrpcClients, { strict: false }).create({ ...contract, name: 'peer', url });
});
app.get(getGrpcClientToken('upstream')).events$.subscribe((event) => {
  if (event.type === 'attempt-end' && event.next === 'retry') process.send({ retried: event.attempt.code });
});
process.send({ grpc: `127.0.0.1:${server.port}` });
console.log(`listening on ${await app.getUrl()}`);
