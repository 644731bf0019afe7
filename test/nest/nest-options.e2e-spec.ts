import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientGrpcProxy, GrpcMethod, Transport, type GrpcOptions } from '@nestjs/microservices';
import {
  GrpcClients,
  ResilientGrpcModule,
  getGrpcClientToken,
  getGrpcServiceToken,
  type GrpcClientAsyncOptions,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';
import { HERO_PROTO } from './places.js';

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
  ['GrpcOptions returned by a factory', ResilientGrpcServerModule.forRootAsync({ useFactory: () => shared })],
] as const;

type NestGrpcClientOptions = Parameters<typeof ResilientGrpcModule.forFeature>[0][number];

const CLIENTS: readonly [string, (url: string) => NestGrpcClientOptions][] = [
  ['GrpcOptions', (url) => ({ name: 'orders', ...shared, options: { ...shared.options, url } })],
  ["the 'options' of GrpcOptions", (url) => ({ name: 'orders', ...shared.options, url })],
  [
    "the 'options' of GrpcOptions and settings of this library",
    (url) => ({ name: 'orders', ...shared.options, url, methods: { Get: { waitForReady: true } } }),
  ],
];

describe.each(SERVERS)("Nest's shared gRPC options, with a server configured with %s", (_what, serverModule) => {
  it.each(CLIENTS)('serves a call from a client that is configured with %s', async (_client, optionsFor) => {
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

/** The constant of Nest's gRPC sample, which has no `url`. */
const grpcClientOptions: GrpcOptions = {
  transport: Transport.GRPC,
  options: { package: 'hero', protoPath: HERO_PROTO },
};
// A project without exactOptionalPropertyTypes can omit the cast.
const heroWith = (url: string | undefined): GrpcOptions => ({
  transport: Transport.GRPC,
  options: { url: url as string, package: 'hero', protoPath: HERO_PROTO },
});
const NEST_DEFAULT = 'localhost:5000';

const TARGETS: readonly [string, NestGrpcClientOptions, string][] = [
  ['the constant of the gRPC sample', { name: 'HERO_PACKAGE', ...grpcClientOptions }, NEST_DEFAULT],
  ['a url that is undefined', { name: 'HERO_PACKAGE', ...heroWith(undefined) }, NEST_DEFAULT],
  ['an empty url', { name: 'HERO_PACKAGE', ...heroWith('') }, NEST_DEFAULT],
  ['a url in `options`', { name: 'HERO_PACKAGE', ...heroWith('heroes:1') }, 'heroes:1'],
  ['a url before the constant', { name: 'HERO_PACKAGE', url: 'heroes:1', ...grpcClientOptions }, 'heroes:1'],
  ['a url after the constant', { name: 'HERO_PACKAGE', ...grpcClientOptions, url: 'heroes:1' }, 'heroes:1'],
  [
    'an undefined url next to `options` with a url',
    { name: 'HERO_PACKAGE', ...heroWith('heroes:1'), ...{ url: undefined } },
    'heroes:1',
  ],
];

describe('target of a client that is configured with Nest options', () => {
  const clientOf = async (module: ReturnType<typeof ResilientGrpcModule.forFeature>) => {
    const app = await NestFactory.createApplicationContext(module, { logger: false, abortOnError: false });
    onTestFinished(() => app.close());
    return app.get<ResilientGrpcClient>(getGrpcClientToken('HERO_PACKAGE'));
  };

  it.each(TARGETS)("uses Nest's default target only if no url is given: %s", async (_what, options, target) => {
    expect((await clientOf(ResilientGrpcModule.forFeature([options]))).target).toBe(target);
  });

  it("is no instance of Nest's class, of whose methods it has those of ClientGrpc, and suggests the name of a service", async () => {
    const client = await clientOf(ResilientGrpcModule.forFeature([TARGETS[0]![1]]));
    expect(client).not.toBeInstanceOf(ClientGrpcProxy);
    for (const method of [client.getService, client.getClientByServiceName] as ((name: string) => unknown)[])
      expect(() => method.call(client, 'HeroesService')).toThrow("did you mean 'HeroService'?");
  });

  it("uses Nest's default target in GrpcClients.create() with the constant of the gRPC sample", async () => {
    const app = await NestFactory.createApplicationContext(ResilientGrpcModule.forRoot(), { logger: false });
    onTestFinished(() => app.close());
    const client = app.get(GrpcClients).create({ name: 'HERO_PACKAGE', ...grpcClientOptions });
    expect(client.target).toBe(NEST_DEFAULT);
  });

  it('uses the url that a factory returns for a client with the constant of the gRPC sample', async () => {
    const options = { name: 'HERO_PACKAGE', ...grpcClientOptions, useFactory: () => ({ url: 'heroes:1' }) };
    const module = ResilientGrpcModule.forFeatureAsync([options as unknown as GrpcClientAsyncOptions]);
    expect((await clientOf(module)).target).toBe('heroes:1');
  });

  it("fails at startup if Nest's options without the nested `options` property have no url", async () => {
    const flat: NestGrpcClientOptions = { name: 'HERO_PACKAGE', ...heroWith(undefined).options };
    await expect(clientOf(ResilientGrpcModule.forFeature([flat]))).rejects.toThrow(
      /clients\.HERO_PACKAGE\.url: expected /,
    );
  });
});
