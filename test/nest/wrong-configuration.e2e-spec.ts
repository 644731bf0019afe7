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
    throw new Error('access denied');
  },
};
const clientWith = (options: object) => () => [forFeature([{ ...orders, ...options }])];
const clientTwiceWith = (first: object, second: object) => () => [
  forFeature([{ ...orders, ...first }]),
  forFeature([{ ...orders, ...second }]),
];

/** Invalid configurations, each with a description, the imports of an application, the path of the problem, and a remedy pattern. */
const WRONG: readonly [what: string, imports: () => DynamicModule[], path: string, remedy: RegExp][] = [
  // contract
  ['clients that are not an array', () => [forFeature(orders)], 'clients', /write \[\{ name/],
  ['a client given as a string', () => [forFeature(['orders'])], 'clients[0]', /write \{ name: 'orders'/],
  ['a missing name', () => [forFeature([{ ...orders, name: undefined }])], 'clients[0].name', /write name: 'orders'/],
  [
    'one name twice in one forFeature call',
    () => [forFeature([orders, orders])],
    'clients.orders',
    /remove or rename one/,
  ],
  [
    'neither protoPath nor packageDefinition',
    clientWith({ protoPath: undefined }),
    'clients.orders.protoPath',
    /write protoPath: 'orders\.proto'/,
  ],
  [
    'both protoPath and packageDefinition',
    clientWith({ packageDefinition: {} }),
    'clients.orders.packageDefinition',
    /keep one/,
  ],
  [
    'a missing .proto file',
    clientWith({ protoPath: 'nowhere.proto' }),
    'clients.orders.protoPath',
    /write an absolute path/,
  ],
  [
    'an unknown package',
    clientWith({ package: 'orders' }),
    'clients.orders.package',
    /known packages: 'orders\.v1'|did you mean 'orders\.v1'/,
  ],
  // keys
  [
    "a key that is set both inside and next to Nest's `options`",
    clientWith({ transport: 4, options: { url: 'orders:50051' } }),
    'clients.orders.options.url',
    /also given outside of `options`$/,
  ],
  [
    "an unknown key in Nest's `options`",
    clientWith({ options: { color: 'red' } }),
    'clients.orders.color',
    /unknown option$/,
  ],
  [
    "Nest's `options` given as a string",
    clientWith({ options: 'orders:50051' }),
    'clients.orders.options',
    /expected Nest's gRPC options such as \{ url, package, protoPath \}, got "orders:50051"$/,
  ],
  [
    'a transport other than gRPC',
    clientWith({ transport: 0 }),
    'clients.orders.transport',
    /expected Transport\.GRPC, got 0$/,
  ],
  ['a misspelled key', clientWith({ timeoutMS: 4 }), 'clients.orders.timeoutMS', /did you mean 'timeoutMs'/],
  ['an unknown key', clientWith({ color: 'red' }), 'clients.orders.color', /unknown option$/],
  ['useFactory in forFeature', clientWith({ useFactory: () => ({}) }), 'clients.orders.useFactory', /unknown option$/],
  // values
  ['a missing url', clientWith({ url: undefined }), 'clients.orders.url', /as 'orders:50051'/],
  ['a url of null', clientWith({ url: null }), 'clients.orders.url', /as 'orders:50051', got null$/],
  [
    'a misspelled load balancing policy',
    clientWith({ loadBalancing: 'round-robin' }),
    'clients.orders.loadBalancing',
    /expected 'pick_first', 'round_robin', 'least_request', or a loadBalancingConfig such as \[\{ round_robin: \{\} \}\], got "round-robin"$/,
  ],
  ['an http url', clientWith({ url: 'http://orders:80' }), 'clients.orders.url', /write 'orders:80'/],
  ['an invalid port', clientWith({ url: 'orders:grpc' }), 'clients.orders.url', /a port from 1 to 65535, got 'grpc'/],
  [
    'a duration given as a string',
    clientWith({ timeoutMs: '2s' }),
    'clients.orders.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got "2s"$/,
  ],
  ['a negative duration', clientWith({ outageGraceMs: -5 }), 'clients.orders.outageGraceMs', /0 or more/],
  [
    'null as a value',
    clientWith({ maxWaitingCalls: null }),
    'clients.orders.maxWaitingCalls',
    /expected an integer of 0 or more, got null$/,
  ],
  [
    'an unknown load balancing policy',
    clientWith({ loadBalancing: [{ mine: {} }] }),
    'clients.orders.loadBalancing',
    /got mine; write \[\{ "round_robin"/,
  ],
  [
    'credentials that are not from grpc-js',
    clientWith({ credentials: {} }),
    'clients.orders.credentials',
    /credentials\.createSsl/,
  ],
  [
    'a missing TLS file',
    clientWith({ tls: { ca: '/nowhere.pem' } }),
    'clients.orders.tls.ca',
    /write a path that this process can read/,
  ],
  [
    'a certificate without its key',
    clientWith({ tls: { cert: '-----BEGIN' } }),
    'clients.orders.tls.key',
    /write both/,
  ],
  [
    'an unsupported keepalive key',
    clientWith({ keepalive: { keepaliveIntervalMs: 1 } }),
    'clients.orders.keepalive.keepaliveIntervalMs',
    /unknown option$/,
  ],
  [
    "grpc-js's service config",
    clientWith({ channelOptions: { 'grpc.service_config': '{}' } }),
    'clients.orders.channelOptions["grpc.service_config"]',
    /write the service config as `serviceConfig`/,
  ],
  [
    'a reserved metadata key',
    clientWith({ metadata: { 'grpc-timeout': '1S' } }),
    'clients.orders.metadata.grpc-timeout',
    /which gRPC reserves/,
  ],
  // unreadable values, and values that would block startup
  [
    'a getter that throws',
    () => [forFeature([Object.defineProperty({ ...orders }, 'timeoutMs', throwing)])],
    'clients.orders.timeoutMs',
    /cannot be read: access denied; write plain values/,
  ],
  [
    'a Proxy that throws',
    () => [
      forFeature([new Proxy({}, { ownKeys: throwing.get, get: (_, key) => (key === 'name' ? 'orders' : undefined) })]),
    ],
    'clients.orders',
    /cannot be read/,
  ],
  [
    'a factory result with a getter that throws',
    () => [
      forFeatureAsync([
        { name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => Object.defineProperty({}, 'url', throwing) },
      ]),
    ],
    'clients.orders.url',
    /cannot be read/,
  ],
  [
    'forRootAsync without options',
    () => [forRootAsync(undefined)],
    'forRootAsync',
    /expected exactly one of useFactory, useClass, and useExisting, got nothing$/,
  ],
  [
    'forRootAsync options with a getter that throws',
    () => [forRootAsync(Object.defineProperty({}, 'useFactory', throwing))],
    'forRootAsync.useFactory',
    /cannot be read/,
  ],
  [
    'forRoot options with a getter that throws',
    () => [forRoot(Object.defineProperty({}, 'propagate', throwing))],
    'forRoot.propagate',
    /cannot be read/,
  ],
  [
    'a device as protoPath',
    clientWith({ protoPath: '/dev/zero' }),
    'clients.orders.protoPath',
    /a device, a pipe, or a folder; write 'orders\.proto'/,
  ],
  [
    '100,000 packages',
    clientWith({ package: new Array(100_000).fill('orders') }),
    'clients.orders.package',
    /at most 1000 entries, got 100000/,
  ],
  [
    '100,000 methods',
    clientWith({ methods: Object.fromEntries(new Array(100_000).fill(0).map((_, n) => [`Gett${String(n)}`, {}])) }),
    'clients.orders.methods',
    /at most 1000 entries/,
  ],
  [
    '100,000 interceptors',
    clientWith({ interceptors: new Array(100_000).fill(1) }),
    'clients.orders.interceptors',
    /at most 1000 entries/,
  ],
  [
    'a package definition without methods',
    clientWith({ protoPath: undefined, packageDefinition: { 'orders.v1.Orders': { Get: null } } }),
    'clients.orders.packageDefinition',
    /the result of proto-loader's loadSync\(\)/,
  ],
  // methods and service config
  [
    'a pattern that matches no method',
    clientWith({ methods: { Gett: {} } }),
    'clients.orders.methods.Gett',
    /did you mean 'Get'/,
  ],
  [
    'a misspelled method option',
    clientWith({ methods: { Get: { idempotant: true } } }),
    'clients.orders.methods.Get.idempotant',
    /did you mean 'idempotent'/,
  ],
  ['a service config that is not JSON', clientWith({ serviceConfig: '{' }), 'clients.orders.serviceConfig', /JSON/],
  [
    'a retry policy with one attempt',
    clientWith(methodConfig({ retryPolicy: { ...policy, maxAttempts: 1 } })),
    'clients.orders.serviceConfig.methodConfig[0].retryPolicy.maxAttempts',
    /2 or more/,
  ],
  [
    'a backoff in milliseconds',
    clientWith(methodConfig({ retryPolicy: { ...policy, initialBackoff: '100ms' } })),
    'clients.orders.serviceConfig.methodConfig[0].retryPolicy.initialBackoff',
    /s"/,
  ],
  [
    'both a retry and a hedging policy',
    clientWith(methodConfig({ retryPolicy: policy, hedgingPolicy: { maxAttempts: 2 } })),
    'clients.orders.serviceConfig.methodConfig[0].hedgingPolicy',
    /expected retryPolicy or hedgingPolicy, got both$/,
  ],
  [
    'a misspelled service config key',
    clientWith(methodConfig({ retryPolice: policy })),
    'clients.orders.serviceConfig.methodConfig[0].retryPolice',
    /retryPolicy/,
  ],
  // module
  [
    'one name with two different timeouts',
    clientTwiceWith({}, { timeoutMs: 5 }),
    'clients.orders',
    /different timeoutMs \(nothing and 5\); define it in one module/,
  ],
  [
    'one name with two different .proto files',
    clientTwiceWith({}, { protoPath: ARCHIVE_PROTO }),
    'clients.orders',
    /different protoPath/,
  ],
  ['a second forRoot', () => [forRoot({}), forRoot({})], 'forRoot', /keep one call/],
  ['clients in forRoot', () => [forRoot({ clients: [] })], 'forRoot.clients', /forFeature/],
  ['an invalid default', () => [forRoot({ defaults: { timeoutMs: 0 } })], 'forRoot.defaults.timeoutMs', /above 0/],
  [
    'a url in the defaults',
    () => [forRoot({ defaults: { url: 'x' } })],
    'forRoot.defaults.url',
    /expected this option in forFeature\(\), got "x"$/,
  ],
  [
    'an infinite drain timeout',
    () => [forRoot({ drain: { timeoutMs: Infinity } })],
    'forRoot.drain.timeoutMs',
    /milliseconds/,
  ],
  [
    'propagate: true',
    () => [forRoot({ propagate: true })],
    'forRoot.propagate',
    /expected an object such as \{ deadline: true, cancellation: true \}, got true$/,
  ],
  [
    'propagate: false',
    () => [forRoot({ propagate: false })],
    'forRoot.propagate',
    /expected an object such as \{ deadline: true, cancellation: true \}, got false$/,
  ],
  [
    'a reserved key in propagate.metadata',
    () => [forRoot({ propagate: { metadata: ['grpc-timeout'] } })],
    'forRoot.propagate.metadata[0]',
    /expected a key that can be forwarded, got 'grpc-timeout', which describes a single connection, message, or call$/,
  ],
  [
    'forRootAsync without a factory',
    () => [forRootAsync({})],
    'forRootAsync',
    /expected exactly one of useFactory, useClass, and useExisting, got an empty object$/,
  ],
  [
    'forFeatureAsync without a factory',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO }])],
    'clients.orders',
    /expected exactly one of useFactory, useClass, and useExisting, got an object with name, protoPath$/,
  ],
  [
    'a setting next to useFactory',
    () => [forFeatureAsync([{ ...orders, useFactory: () => orders }])],
    'clients.orders.url',
    /return it from the factory/,
  ],
  [
    'a contract that only the factory returns',
    () => [
      forFeatureAsync([
        { name: 'orders', useFactory: () => ({ transport: 4, options: { url: 'orders:1', protoPath: ORDERS_PROTO } }) },
      ]),
    ],
    'clients.orders.protoPath',
    /next to `name`, got nothing; write \{ name: 'orders', protoPath: 'orders\.proto', useFactory \}; .* the factory returns `url` and the other settings, without Nest's `transport` and `options`$/,
  ],
  [
    "a factory that returns Nest's nested form",
    () => [
      forFeatureAsync([
        {
          name: 'orders',
          protoPath: ORDERS_PROTO,
          useFactory: () => ({ transport: 4, options: { url: 'orders:1', protoPath: ORDERS_PROTO } }),
        },
      ]),
    ],
    'clients.orders.options',
    /expected its keys outside of `options`, got an object with url, protoPath$/,
  ],
  [
    'a factory that returns undefined',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => undefined }])],
    'clients.orders',
    /got nothing/,
  ],
  [
    'a factory that returns protoPath',
    () => [forFeatureAsync([{ name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => orders }])],
    'clients.orders.protoPath',
    /^expected this option next to the factory, got "/,
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
  it.each(WRONG)(
    'reports the path of the problem and its remedy at startup for %s',
    async (_, imports, path, remedy) => {
      const problems = await problemsOf(imports);
      const found = problems.filter((problem) => problem.path === path);
      expect(found, JSON.stringify(problems, undefined, 2)).not.toHaveLength(0);
      expect(found.map(({ message }) => message).join('\n')).toMatch(remedy);
    },
  );

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
  it.each<GrpcClientOptions['serviceConfig']>([
    { loadBalancingConfig: [] },
    { methodConfig: [{ name: [{}], timeout: { seconds: 1, nanos: 500_000_000 } }] },
    { methodConfig: [{ name: [], timeout: '1.5s' }] },
    { retryThrottling: { maxTokens: 0.5, tokenRatio: 0.1 } },
  ])('starts with the service config %j, which grpc-js accepts', async (serviceConfig) => {
    expect(await problemsOf(() => [forFeature([{ ...orders, serviceConfig }])])).toEqual([]);
  });

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
  const entries = (['forFeature', 'forFeatureAsync', 'forRoot', 'forRootAsync'] as const).map((key) => {
    const method = ResilientGrpcModule[key] as unknown as Loose;
    return [key, (...args: unknown[]) => method.apply(ResilientGrpcModule, args)] as const;
  });
  return Object.fromEntries(entries) as Record<(typeof entries)[number][0], Loose>;
}
