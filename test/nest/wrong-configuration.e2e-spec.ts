import { Module, type DynamicModule } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { GrpcConfigurationError, ResilientGrpcModule, type GrpcClientOptions } from 'nestjs-resilient-grpc';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { ARCHIVE_PROTO, ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const orders = { name: 'orders', protoPath: ORDERS_PROTO, url: '127.0.0.1:1' };
const { forFeature, forFeatureAsync, forRoot } = loose();
const clientWith = (options: object) => () => [forFeature([{ ...orders, ...options }])];

/** The path of the problem in the invalid imports of an application. The unit specs contain the messages. */
const WRONG: readonly [path: string, imports: () => DynamicModule[]][] = [
  // contract
  ['clients', () => [forFeature(orders)]],
  ['clients[0]', () => [forFeature(['orders'])]],
  ['clients[0].name', () => [forFeature([{ ...orders, name: undefined }])]],
  ['clients.orders', () => [forFeature([orders, orders])]],
  // keys
  ['clients.orders.options.url', clientWith({ transport: 4, options: { url: 'orders:50051' } })],
  ['clients.orders.color', clientWith({ options: { color: 'red' } })],
  ['clients.orders.options', clientWith({ options: 'orders:50051' })],
  ['clients.orders.transport', clientWith({ transport: 0 })],
  ['clients.orders.useFactory', clientWith({ useFactory: () => ({}) })],
  // values
  ['clients.orders.tls.key', clientWith({ tls: { cert: '-----BEGIN' } })],
  ['clients.orders.keepalive.keepaliveIntervalMs', clientWith({ keepalive: { keepaliveIntervalMs: 1 } })],
  [
    'clients.orders.packageDefinition',
    clientWith({ protoPath: undefined, packageDefinition: { 'orders.v1.Orders': { Get: null } } }),
  ],
  // methods and service config
  ['clients.orders.serviceConfig', clientWith({ serviceConfig: '{' })],
  // module
  ['clients.orders', () => [forFeature([orders]), forFeature([{ ...orders, protoPath: ARCHIVE_PROTO }])]],
  ['forRoot', () => [forRoot({}), forRoot({})]],
  ['forRoot.clients', () => [forRoot({ clients: [] })]],
  ['forRoot.drain.timeoutMs', () => [forRoot({ drain: { timeoutMs: Infinity } })]],
  ['forRoot.propagate', () => [forRoot({ propagate: true })]],
  ['forRoot.propagate', () => [forRoot({ propagate: false })]],
  ['forRoot.propagate.metadata[0]', () => [forRoot({ propagate: { metadata: ['grpc-timeout'] } })]],
  ['clients.orders.url', () => [forFeatureAsync([{ ...orders, useFactory: () => orders }])]],
  [
    'clients.orders.protoPath',
    () => [
      forFeatureAsync([
        { name: 'orders', useFactory: () => ({ transport: 4, options: { url: 'orders:1', protoPath: ORDERS_PROTO } }) },
      ]),
    ],
  ],
  [
    'clients.orders.options',
    () => [
      forFeatureAsync([
        {
          name: 'orders',
          protoPath: ORDERS_PROTO,
          useFactory: () => ({ transport: 4, options: { url: 'orders:1', protoPath: ORDERS_PROTO } }),
        },
      ]),
    ],
  ],
  [
    'clients.orders',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => undefined }])],
  ],
  [
    'clients.orders.protoPath',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => orders }])],
  ],
];

/** The problems that keep the application from starting; empty if it starts. */
async function problemsOf(imports: () => DynamicModule[]): Promise<GrpcConfigurationError['problems']> {
  try {
    @Module({ imports: imports() })
    class AppModule {}
    const app = await Test.createTestingModule({ imports: [AppModule] }).compile();
    await app.close();
    return [];
  } catch (error) {
    if (error instanceof GrpcConfigurationError) return error.problems;
    throw error;
  }
}

describe('invalid configuration', () => {
  it.each(WRONG)('reports a problem at %s at startup', async (path, imports) => {
    expect((await problemsOf(imports)).map((problem) => problem.path)).toContain(path);
  });

  it('reports the problems of all clients and of forRoot together', async () => {
    const problems = await problemsOf(() => [
      forRoot({ defaults: { timeoutMs: -1 } }),
      forFeature([{ ...orders, timeoutMS: 5, methods: { Gett: {} } }]),
      forFeatureAsync([{ name: 'audit', protoPath: ORDERS_PROTO, useFactory: async () => ({ url: '' }) }]),
    ]);
    expect(problems.map(({ path }) => path).sort()).toEqual([
      'clients.audit.url',
      'clients.orders.methods.Gett',
      'clients.orders.timeoutMS',
      'forRoot.defaults.timeoutMs',
    ]);
  });

  it('makes forFeature throw one error that lists a missing .proto file and an invalid setting of another client', () => {
    try {
      forFeature([
        { ...orders, protoPath: 'nowhere.proto' },
        { ...orders, name: 'audit', timeoutMs: 'x' },
      ]);
      expect.unreachable();
    } catch (error) {
      expect((error as GrpcConfigurationError).problems.map(({ path }) => path)).toEqual([
        'clients.orders.protoPath',
        'clients.audit.timeoutMs',
      ]);
      expect((error as Error).message).toMatch(
        /^2 problems in the gRPC configuration:\n {2}- clients\.orders\.protoPath: /,
      );
    }
  });
});

describe('valid configuration', () => {
  it('accepts undefined for optional keys of forRoot and forFeature', async () => {
    const options: GrpcClientOptions = {
      ...orders,
      package: undefined,
      loader: undefined,
      timeoutMs: undefined,
      methods: { Get: { idempotent: undefined } },
      tls: undefined,
      credentials: undefined,
      serviceConfig: undefined,
    };
    expect(
      await problemsOf(() => [
        forRoot({ defaults: undefined, drain: undefined }),
        forFeature([options], { isGlobal: undefined }),
      ]),
    ).toEqual([]);
  });
});

/** The module's methods without types, because the types would reject invalid arguments. */
function loose() {
  type Loose = (...args: unknown[]) => DynamicModule;
  const entries = (['forFeature', 'forFeatureAsync', 'forRoot'] as const).map((key) => {
    const method = ResilientGrpcModule[key] as unknown as Loose;
    return [key, (...args: unknown[]) => method.apply(ResilientGrpcModule, args)] as const;
  });
  return Object.fromEntries(entries) as Record<(typeof entries)[number][0], Loose>;
}
