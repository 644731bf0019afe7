import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Transport, type GrpcOptions } from '@nestjs/microservices';
import {
  ResilientGrpcModule,
  getGrpcServiceToken,
  type NestGrpcClientOptions,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Options that an application shares between its server and its clients, including keys that only one of the two uses. */
const shared: GrpcOptions = {
  transport: Transport.GRPC,
  options: {
    url: '127.0.0.1:0',
    package: 'orders.v1',
    protoPath: 'protos/orders.proto',
    protoLoader: '@grpc/proto-loader',
    loader: { longs: String, keepCase: false },
    maxSendMessageLength: 1_000_000,
    maxReceiveMessageLength: 1_000_000,
    maxMetadataSize: 16_384,
    keepalive: { keepaliveTimeMs: 30_000, keepalivePermitWithoutCalls: 1, http2MinTimeBetweenPingsMs: 10_000 },
    channelOptions: { 'grpc.max_concurrent_streams': 100 },
    gracefulShutdown: true,
    onLoadPackageDefinition: () => undefined,
  },
};

@Controller()
class OrdersController {
  @GrpcMethod('Orders') get({ id }: { id: string }) {
    return { id, item: 'tea' };
  }
}

const SERVERS = [
  ['GrpcOptions', ResilientGrpcServerModule.forRoot(shared)],
  ["the 'options' of GrpcOptions", ResilientGrpcServerModule.forRoot(shared.options)],
  ['GrpcOptions of a factory', ResilientGrpcServerModule.forRootAsync({ useFactory: () => shared })],
] as const;

const CLIENTS: readonly [string, (url: string) => NestGrpcClientOptions][] = [
  ['GrpcOptions', (url) => ({ name: 'orders', ...shared, options: { ...shared.options, url } })],
  ["the 'options' of GrpcOptions", (url) => ({ name: 'orders', ...shared.options, url })],
  [
    "the 'options' of GrpcOptions and settings of this library",
    (url) => ({ name: 'orders', ...shared.options, url, methods: { Get: { waitForReady: true } } }),
  ],
];

describe.each(SERVERS)("Nest's shared gRPC options, with a server of %s", (_what, serverModule) => {
  it.each(CLIENTS)('serves a call of a client with %s', async (_client, optionsFor) => {
    @Module({ imports: [serverModule], controllers: [OrdersController] })
    class ServerModule {}
    const server = await NestFactory.createMicroservice(ServerModule, {
      inject: [ResilientGrpcServer],
      useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
      logger: false,
    });
    onTestFinished(() => server.close());
    await server.listen();
    const url = `127.0.0.1:${server.get(ResilientGrpcServer).port}`;
    const client = ResilientGrpcModule.forFeature([optionsFor(url)]);
    const app = await NestFactory.createApplicationContext(client, { logger: false });
    onTestFinished(() => app.close());
    const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'));
    expect(await firstValueFrom(orders.get({ id: '7' }))).toMatchObject({ id: '7', item: 'tea' });
  });
});
