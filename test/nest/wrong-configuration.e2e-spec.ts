import { Module, type DynamicModule } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { GrpcConfigurationError, ResilientGrpcModule, type GrpcClientOptions } from 'nestjs-resilient-grpc';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { ARCHIVE_PROTO, ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const orders = { name: 'orders', protoPath: ORDERS_PROTO, url: '127.0.0.1:1' };
const { forFeature, forFeatureAsync, forRoot, forRootAsync } = loose();
const policy = {
  maxAttempts: 3,
  initialBackoff: '0.1s',
  maxBackoff: '1s',
  backoffMultiplier: 2,
  retryableStatusCodes: ['UNAVAILABLE'],
};
const methodConfig = (entry: object) => ({
  serviceConfig: { methodConfig: [{ name: [{ service: 'orders.v1.Orders' }], ...entry }] },
});
const throwing = {
  enumerable: true,
  get: (): never => {
    throw new Error('not for you');
  },
};
const one = (options: object) => () => [forFeature([{ ...orders, ...options }])];
const both = (first: object, second: object) => () => [
  forFeature([{ ...orders, ...first }]),
  forFeature([{ ...orders, ...second }]),
];

/** What an application imports, where it is wrong, and a word of the remedy. */
const WRONG: readonly [what: string, imports: () => DynamicModule[], path: string, remedy: RegExp][] = [
  // contract
  ['no array', () => [forFeature(orders)], 'clients', /write \[\{ name/],
  ['a client that is a text', () => [forFeature(['orders'])], 'clients[0]', /write \{ name: 'orders'/],
  ['no name', () => [forFeature([{ ...orders, name: undefined }])], 'clients[0].name', /write name: 'orders'/],
  ['the same name twice in one call', () => [forFeature([orders, orders])], 'clients.orders', /keep one/],
  ['no contract', one({ protoPath: undefined }), 'clients.orders.protoPath', /write protoPath: 'orders\.proto'/],
  ['two contracts', one({ packageDefinition: {} }), 'clients.orders.packageDefinition', /keep one/],
  [
    'a proto that is not there',
    one({ protoPath: 'nowhere.proto' }),
    'clients.orders.protoPath',
    /write an absolute path/,
  ],
  [
    'a package that is not there',
    one({ package: 'orders' }),
    'clients.orders.package',
    /the definition has 'orders\.v1'|did you mean 'orders\.v1'/,
  ],
  // keys
  [
    "Nest's nested options",
    () => [forFeature([{ name: 'orders', transport: 4, options: { ...orders } }])],
    'clients.orders.options',
    /write its keys beside `name`/,
  ],
  ["Nest's transport", one({ transport: 4 }), 'clients.orders.transport', /leave it out/],
  ['a slip of the pen', one({ timeoutMS: 4 }), 'clients.orders.timeoutMS', /did you mean 'timeoutMs'/],
  ['a key nobody knows', one({ colour: 'red' }), 'clients.orders.colour', /known are/],
  ['a relative deadline', one({ deadline: 500 }), 'clients.orders.deadline', /write `timeoutMs`/],
  ['a factory in forFeature', one({ useFactory: () => ({}) }), 'clients.orders.useFactory', /forFeatureAsync/],
  // values
  ['no url', one({ url: undefined }), 'clients.orders.url', /as 'orders:50051'/],
  ['an http url', one({ url: 'http://orders:80' }), 'clients.orders.url', /write 'orders:80'/],
  ['a port that is none', one({ url: 'orders:grpc' }), 'clients.orders.url', /write 'host:port'/],
  ['a duration in words', one({ timeoutMs: '2s' }), 'clients.orders.timeoutMs', /write 2000/],
  ['a negative duration', one({ outageGraceMs: -5 }), 'clients.orders.outageGraceMs', /0 or more/],
  ['null', one({ maxWaitingCalls: null }), 'clients.orders.maxWaitingCalls', /leave it out/],
  ['one attempt at most', one({ maxAttemptsLimit: 1 }), 'clients.orders.maxAttemptsLimit', /2 or more/],
  ['a connection of another kind', one({ connection: 'eager' }), 'clients.orders.connection', /'on-demand' or 'warm'/],
  [
    'an unknown policy',
    one({ loadBalancing: [{ mine: {} }] }),
    'clients.orders.loadBalancing',
    /write \[\{ round_robin/,
  ],
  ['credentials of another kind', one({ credentials: {} }), 'clients.orders.credentials', /credentials\.createSsl/],
  [
    'tls with a file that is not there',
    one({ tls: { ca: '/nowhere.pem' } }),
    'clients.orders.tls.ca',
    /write the path/,
  ],
  ['a certificate without its key', one({ tls: { cert: '-----BEGIN' } }), 'clients.orders.tls.key', /needs both/],
  [
    'a key of keepalive that does nothing',
    one({ keepalive: { http2MaxPingStrikes: 1 } }),
    'clients.orders.keepalive.http2MaxPingStrikes',
    /known are/,
  ],
  [
    "grpc-js's service config",
    one({ channelOptions: { 'grpc.service_config': '{}' } }),
    'clients.orders.channelOptions["grpc.service_config"]',
    /write it as `serviceConfig`/,
  ],
  [
    'metadata of gRPC',
    one({ metadata: { 'grpc-timeout': '1S' } }),
    'clients.orders.metadata.grpc-timeout',
    /gRPC's own/,
  ],
  // what cannot be read, and what would block the start
  [
    'a getter that throws',
    () => [forFeature([Object.defineProperty({ ...orders }, 'timeoutMs', throwing)])],
    'clients.orders.timeoutMs',
    /cannot be read: not for you; write plain values/,
  ],
  [
    'a proxy',
    () => [
      forFeature([new Proxy({}, { ownKeys: throwing.get, get: (_, key) => (key === 'name' ? 'orders' : undefined) })]),
    ],
    'clients.orders',
    /cannot be read/,
  ],
  [
    'a factory whose options throw',
    () => [
      forFeatureAsync([
        { name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => Object.defineProperty({}, 'url', throwing) },
      ]),
    ],
    'clients.orders.url',
    /cannot be read/,
  ],
  ['a forRootAsync without options', () => [forRootAsync(undefined)], 'forRootAsync', /write \{ useFactory/],
  [
    'a forRootAsync that throws',
    () => [forRootAsync(Object.defineProperty({}, 'useFactory', throwing))],
    'forRootAsync.useFactory',
    /cannot be read/,
  ],
  [
    'a forRoot that throws',
    () => [forRoot(Object.defineProperty({}, 'propagate', throwing))],
    'forRoot.propagate',
    /cannot be read/,
  ],
  [
    'a device for a .proto file',
    one({ protoPath: '/dev/zero' }),
    'clients.orders.protoPath',
    /a device, a pipe or a folder; write 'orders\.proto'/,
  ],
  [
    '100,000 packages',
    one({ package: new Array(100_000).fill('orders') }),
    'clients.orders.package',
    /at most 1000 entries, got 100000/,
  ],
  [
    '100,000 methods',
    one({ methods: Object.fromEntries(new Array(100_000).fill(0).map((_, n) => [`Gett${String(n)}`, {}])) }),
    'clients.orders.methods',
    /at most 1000 entries/,
  ],
  [
    '100,000 interceptors',
    one({ interceptors: new Array(100_000).fill(1) }),
    'clients.orders.interceptors',
    /at most 1000 entries/,
  ],
  [
    'a definition without methods',
    one({ protoPath: undefined, packageDefinition: { 'orders.v1.Orders': { Get: null } } }),
    'clients.orders.packageDefinition',
    /what proto-loader's loadSync\(\) gives/,
  ],
  // methods and service config
  [
    'a pattern that matches no method',
    one({ methods: { Gett: {} } }),
    'clients.orders.methods.Gett',
    /did you mean 'Get'/,
  ],
  [
    'a slip in a method',
    one({ methods: { Get: { idempotant: true } } }),
    'clients.orders.methods.Get.idempotant',
    /did you mean 'idempotent'/,
  ],
  ['a service config that is no JSON', one({ serviceConfig: '{' }), 'clients.orders.serviceConfig', /JSON/],
  [
    'a policy of one attempt',
    one(methodConfig({ retryPolicy: { ...policy, maxAttempts: 1 } })),
    'clients.orders.serviceConfig.methodConfig[0].retryPolicy.maxAttempts',
    /2 or more/,
  ],
  [
    'a backoff in milliseconds',
    one(methodConfig({ retryPolicy: { ...policy, initialBackoff: '100ms' } })),
    'clients.orders.serviceConfig.methodConfig[0].retryPolicy.initialBackoff',
    /s"/,
  ],
  [
    'a policy of both kinds',
    one(methodConfig({ retryPolicy: policy, hedgingPolicy: { maxAttempts: 2 } })),
    'clients.orders.serviceConfig.methodConfig[0].hedgingPolicy',
    /write one of the two/,
  ],
  [
    'a slip in a service config',
    one(methodConfig({ retryPolice: policy })),
    'clients.orders.serviceConfig.methodConfig[0].retryPolice',
    /retryPolicy/,
  ],
  // module
  [
    'the same name twice, differently',
    both({}, { timeoutMs: 5 }),
    'clients.orders',
    /different timeoutMs \(nothing and 5\); define it once/,
  ],
  [
    'the same name twice, of other services',
    both({}, { protoPath: ARCHIVE_PROTO }),
    'clients.orders',
    /different protoPath/,
  ],
  ['a second forRoot', () => [forRoot({}), forRoot({})], 'forRoot', /keep one/],
  ['clients in forRoot', () => [forRoot({ clients: [] })], 'forRoot.clients', /forFeature/],
  ['wrong defaults', () => [forRoot({ defaults: { timeoutMs: 0 } })], 'forRoot.defaults.timeoutMs', /above 0/],
  ['a url in the defaults', () => [forRoot({ defaults: { url: 'x' } })], 'forRoot.defaults.url', /unknown key/],
  [
    'a drain without end',
    () => [forRoot({ drain: { timeoutMs: Infinity } })],
    'forRoot.drain.timeoutMs',
    /milliseconds/,
  ],
  ['propagation by a word', () => [forRoot({ propagate: true })], 'forRoot.propagate', /write \{ deadline: true/],
  ['propagation that is off', () => [forRoot({ propagate: false })], 'forRoot.propagate', /leave it out/],
  [
    'propagation of headers',
    () => [forRoot({ propagate: { headers: ['x-request-id'] } })],
    'forRoot.propagate.headers',
    /write `metadata`/,
  ],
  [
    "propagation of a key of gRPC's own",
    () => [forRoot({ propagate: { metadata: ['grpc-timeout'] } })],
    'forRoot.propagate.metadata[0]',
    /`deadline`: true/,
  ],
  ['interceptors of forRoot itself', () => [forRoot({ interceptors: [] })], 'forRoot.interceptors', /into defaults/],
  ['forRootAsync without a factory', () => [forRootAsync({})], 'forRootAsync', /write useFactory/],
  [
    'forFeatureAsync without a factory',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO }])],
    'clients.orders',
    /write useFactory/,
  ],
  [
    'a setting beside the factory',
    () => [forFeatureAsync([{ ...orders, useFactory: () => orders }])],
    'clients.orders.url',
    /give it in what the factory returns/,
  ],
  [
    'a factory that gives nothing',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => undefined }])],
    'clients.orders',
    /got nothing/,
  ],
  [
    'a factory that gives the contract',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => orders }])],
    'clients.orders.protoPath',
    /beside `name`/,
  ],
];

/** Problems with which an application fails to start. */
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

describe('a wrong configuration fails the start, with path and remedy', () => {
  it.each(WRONG)('%s', async (_, imports, path, remedy) => {
    const problems = await problemsOf(imports);
    const found = problems.filter((problem) => problem.path === path);
    expect(found, JSON.stringify(problems, undefined, 2)).not.toHaveLength(0);
    expect(found.map(({ message }) => message).join('\n')).toMatch(remedy);
  });

  it('all clients and forRoot at once', async () => {
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

  it('a contract at once where it is written, with the settings of the same call', () => {
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
        /^2 problems in the configuration of gRPC:\n {2}- clients\.orders\.protoPath: /,
      );
    }
  });
});

describe('a right configuration', () => {
  it('may have undefined in every optional key', async () => {
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

/** The module as JavaScript sees it: without types that would refuse what is wrong. */
function loose() {
  type Loose = (...args: unknown[]) => DynamicModule;
  const entries = (['forFeature', 'forFeatureAsync', 'forRoot', 'forRootAsync'] as const).map((key) => {
    const method = ResilientGrpcModule[key] as unknown as Loose;
    return [key, (...args: unknown[]) => method.apply(ResilientGrpcModule, args)] as const;
  });
  return Object.fromEntries(entries) as Record<(typeof entries)[number][0], Loose>;
}
