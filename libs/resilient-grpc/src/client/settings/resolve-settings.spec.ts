import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { Metadata, credentials, experimental } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../time/clock.js';
import type { GrpcClientDefaults, GrpcClientSettings } from './client-options.js';
import { loadContract } from './contract.js';
import { resolveSettings } from './resolve-settings.js';

const loaded = loadContract({ protoPath: join(import.meta.dirname, 'fixtures/shop.proto') }, 'clients.shop');
if (!loaded.ok) throw new Error('the fixture does not load');
const { services } = loaded;

function resolve(settings: object, defaults?: GrpcClientDefaults, random = () => 0.5) {
  const resolution = resolveSettings(
    { name: 'shop', path: 'clients.shop', services, settings: { url: 'shop:50051', ...settings }, defaults },
    { clock: systemClock, random, report: () => undefined },
  );
  if (!resolution.ok) throw new Error(JSON.stringify(resolution.problems));
  return resolution;
}

const policy = (settings: object, method: string, defaults?: GrpcClientDefaults) =>
  resolve(settings, defaults).settings.policies.get(`/shop.v1.Orders/${method}`);

describe('default settings', () => {
  it('applies the defaults to client settings that are not given', () => {
    const { settings, warnings } = resolve({});
    expect(warnings).toEqual([]);
    expect(settings.channel).toMatchObject({
      target: 'shop:50051',
      transport: 'socket',
      outageGraceMs: 5_000,
      maxWaitingCalls: 10_000,
      maxWaitingBytes: 419_430_400,
      releaseWithinMs: 15_000,
      connection: 'on-demand',
      loadBalancing: [{ pick_first: {} }],
      connectTimeoutMs: 20_000,
      maxConnectionAgeMs: undefined,
      channelOptions: {
        'grpc.enable_channelz': 0,
        'grpc.use_local_subchannel_pool': 1,
        'grpc.dns_min_time_between_resolutions_ms': 5_000,
        'grpc.service_config_disable_resolution': 1,
        'grpc.max_reconnect_backoff_ms': 5_000,
        'grpc.per_rpc_retry_buffer_size': 65_536,
        'grpc.client_idle_timeout_ms': 200_000,
      },
    });
    expect(settings.channel.channelOptions).not.toHaveProperty('grpc.keepalive_time_ms');
    expect(settings.channel.credentials.current._isSecure()).toBe(false);
  });

  it("reconnects four times a second on grpc-js's transport, where a longer backoff misses servers that plain clients find", () => {
    const { channelOptions } = resolve({ transport: 'grpc-js' }).settings.channel;
    expect(channelOptions['grpc.max_reconnect_backoff_ms']).toBe(250);
  });

  it('takes the size of the retry buffers from channelOptions, else from the defaults of grpc-js', () => {
    expect(resolve({}).settings.replayBytes).toEqual({ perCall: 1 << 20, perClient: 1 << 24 });
    const channelOptions = { 'grpc.per_rpc_retry_buffer_size': 5, 'grpc.retry_buffer_size': 7 };
    expect(resolve({ channelOptions }).settings.replayBytes).toEqual({ perCall: 5, perClient: 7 });
  });

  it('randomizes outageGraceMs by ±10%', () => {
    expect(resolve({}, undefined, () => 0).settings.channel.outageGraceMs).toBe(4_500);
    expect(resolve({}, undefined, () => 0.999_999).settings.channel.outageGraceMs).toBe(5_500);
    expect(resolve({ outageGraceMs: 0 }).settings.channel.outageGraceMs).toBe(0);
  });

  it.each([
    [5_000, 15_000],
    [20_000, 15_000],
    [4_000, 12_000],
    [1_000, 3_000],
    [0, 3_000],
  ])(
    'limits the time to release waiting calls, without jitter (outageGraceMs: %i, limit: %i ms)',
    (outageGraceMs, withinMs) => {
      expect(resolve({ outageGraceMs }, undefined, () => 0.999_999).settings.channel.releaseWithinMs).toBe(withinMs);
    },
  );
});

describe('client settings over defaults', () => {
  it('overrides the defaults of forRoot with client settings key by key, and ignores undefined', () => {
    const { settings } = resolve(
      {
        connections: { warm: true },
        maxWaitingCalls: undefined,
        keepalive: { keepaliveTimeMs: 30_000 },
        metadata: { a: 'own' },
      },
      {
        connections: { warm: false },
        maxWaitingCalls: 7,
        keepalive: { keepaliveTimeMs: 60_000, keepaliveTimeoutMs: 5_000 },
        metadata: { a: 'all', b: 'all' },
        channelOptions: { 'grpc.primary_user_agent': 'x' },
      },
    );
    expect(settings.channel).toMatchObject({ connection: 'warm', maxWaitingCalls: 7 });
    expect(settings.channel.channelOptions).toMatchObject({
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.primary_user_agent': 'x',
    });
    expect(settings.metadata?.getMap()).toEqual({ a: 'own', b: 'all' });
  });

  it('masks the credentials in the displayed target of a custom resolver', () => {
    class Resolver {
      updateResolution = () => undefined;
      destroy = () => undefined;
    }
    experimental.registerResolver('consul-of-shop', Resolver as never);
    const { settings } = resolve({ url: 'consul-of-shop://hush@agent:8500/orders' });
    expect(settings.target).toBe('consul-of-shop://***@agent:8500/orders');
    expect(settings.channel.target).toBe('consul-of-shop://hush@agent:8500/orders');
  });

  it('accepts a Metadata instance of another copy of grpc-js in client settings, alone and merged', () => {
    const internalRepr = new Map([['a', ['1']]]);
    const foreign: any = { getMap: () => ({ a: '1' }), getOptions: () => ({}), internalRepr };
    expect(resolve({ metadata: foreign }).settings.metadata?.getMap()).toEqual({ a: '1' });
    const { settings } = resolve({ metadata: foreign }, { metadata: { a: '0', b: '2' } });
    expect(settings.metadata?.getMap()).toEqual({ a: '1', b: '2' });
  });

  it('merges plain-object metadata with a Metadata instance', () => {
    const base = new Metadata();
    base.add('a', '1');
    base.add('b', '1');
    const { settings } = resolve({ metadata: { a: ['2', '3'] } }, { metadata: base });
    expect([settings.metadata?.get('a'), settings.metadata?.get('b')]).toEqual([['2', '3'], ['1']]);
    expect(base.get('a')).toEqual(['1']);
  });

  it('does not combine credentials or tls of the client with those of the defaults', () => {
    const own = credentials.createInsecure();
    expect(resolve({ credentials: own }, { tls: {} }).settings.channel.credentials.current).toBe(own);
    expect(resolve({ tls: {} }, { credentials: own }).settings.channel.credentials.current._isSecure()).toBe(true);
  });
});

describe('channel options', () => {
  it("overrides the library's channel options with the user's channelOptions", () => {
    const given = {
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': undefined,
      'grpc.per_rpc_retry_buffer_size': 0,
      interceptors: [],
    };
    const { channelOptions } = resolve({ channelOptions: given, maxSendMessageLength: 10, maxReceiveMessageLength: -1 })
      .settings.channel;
    expect(channelOptions).toMatchObject({
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 5_000,
      'grpc.per_rpc_retry_buffer_size': 0,
      'grpc.max_send_message_length': 10,
      'grpc.max_receive_message_length': -1,
    });
    expect(channelOptions).not.toHaveProperty('interceptors');
  });

  it('sets grpc.ssl_target_name_override to tls.serverName', () => {
    expect(resolve({ tls: { serverName: 'orders.internal' } }).settings.channel.channelOptions).toMatchObject({
      'grpc.ssl_target_name_override': 'orders.internal',
    });
  });

  it.each([
    ['client', []],
    ['expired', [expect.stringMatching(/^tls\.cert: the certificate of this client expired on Jan .* 2021 GMT;/)]],
    ['not-yet-valid', [expect.stringMatching(/^tls\.cert: .* is not valid before Jan .* 2100 GMT;/)]],
  ])("warns if the client's own certificate is not valid now: %s", (name, warnings) => {
    const file = (suffix: string) =>
      fileURLToPath(new URL(`../../../../../test/fixtures/tls/${name}${suffix}.pem`, import.meta.url));
    expect(resolve({ tls: { cert: file(''), key: file('-key') } }).warnings).toEqual(warnings);
  });

  it('raises a keepalive time between 0 and 10 s with a warning, but keeps a time set in `channelOptions`', () => {
    const named = { keepalive: { keepaliveTimeMs: 500 } };
    const chosen = { channelOptions: { 'grpc.keepalive_time_ms': 500 } };
    for (const raised of [resolve(named), resolve({ ...chosen, ...named }), resolve({}, { ...chosen, ...named })]) {
      expect(raised.settings.channel.channelOptions['grpc.keepalive_time_ms']).toBe(10_000);
      expect(raised.warnings).toEqual([expect.stringContaining('too_many_pings')]);
    }
    for (const kept of [resolve(chosen), resolve(chosen, named)]) {
      expect(kept.settings.channel.channelOptions['grpc.keepalive_time_ms']).toBe(500);
      expect(kept.warnings).toEqual([]);
    }
    expect(resolve({ keepalive: { keepaliveTimeMs: 0 } }).warnings).toEqual([]);
  });

  it('caps a keepalive time at the maximum timer delay', () => {
    const { channelOptions } = resolve({ keepalive: { keepaliveTimeMs: 3e9 } }).settings.channel;
    expect(channelOptions['grpc.keepalive_time_ms']).toBe(2_147_483_647);
  });

  it.each([
    ['maxSendMessageLength', 'grpc.max_send_message_length'],
    ['maxReceiveMessageLength', 'grpc.max_receive_message_length'],
  ])('treats a %s of 0 as not set, as Nest does', (name, key) => {
    const resolved = (own: object, defaults?: GrpcClientDefaults) =>
      resolve({ ...own, [name]: 0 }, defaults).settings.channel.channelOptions[key];
    expect(resolved({})).toBeUndefined();
    expect(resolved({ channelOptions: { [key]: 5 } })).toBe(5);
    expect(resolved({}, { [name]: 7 })).toBe(7);
    expect(resolved({}, { [name]: 0, channelOptions: { [key]: 9 } })).toBe(9);
  });

  describe.each<[key: string, byName: (value: number) => GrpcClientDefaults, value: (given: number) => unknown]>([
    ['grpc.client_idle_timeout_ms', (ms) => ({ connections: { idleMs: ms } }), Number],
    ['grpc.keepalive_time_ms', (ms) => ({ keepalive: { keepaliveTimeMs: ms } }), Number],
    ['grpc.keepalive_timeout_ms', (ms) => ({ keepalive: { keepaliveTimeoutMs: ms } }), Number],
    [
      'grpc.keepalive_permit_without_calls',
      (n) => ({ keepalive: { keepalivePermitWithoutCalls: n % 2 === 1 } }),
      (n) => n % 2,
    ],
    ['grpc.max_send_message_length', (bytes) => ({ maxSendMessageLength: bytes }), Number],
    ['grpc.max_receive_message_length', (bytes) => ({ maxReceiveMessageLength: bytes }), Number],
    ['grpc.ssl_target_name_override', (n) => ({ tls: { serverName: `name-${n}` } }), (n) => `name-${n}`],
  ])('%s', (key, byName, value) => {
    const [A, B] = [20_000, 30_001];
    const byOption = (given: number) => ({ channelOptions: { [key]: value(given) } });
    const resolved = (own: object, defaults?: GrpcClientDefaults) =>
      resolve(own, defaults).settings.channel.channelOptions[key];

    it.each<[from: string, own: object, defaults: GrpcClientDefaults | undefined, expected: number]>([
      ['its named option', byName(A), undefined, A],
      ['`channelOptions`', byOption(A), undefined, A],
      ['its named option, even if `channelOptions` sets it, too', { ...byName(A), ...byOption(B) }, undefined, A],
      ['its named option in the defaults', {}, byName(A), A],
      ['`channelOptions` of the defaults', {}, byOption(A), A],
      ['the named option of the defaults, not their `channelOptions`', {}, { ...byName(A), ...byOption(B) }, A],
      ['its named option, even if the defaults set that option', byName(A), byName(B), A],
      ['its named option, even if the defaults set it in `channelOptions`', byName(A), byOption(B), A],
      ['`channelOptions`, even if the defaults set its named option', byOption(A), byName(B), A],
      ['`channelOptions`, even if the defaults set both', byOption(A), { ...byName(B), ...byOption(B) }, A],
      ['`channelOptions`, even if the defaults set it in `channelOptions`, too', byOption(A), byOption(B), A],
    ])(`takes ${key} from %s`, (_from, own, defaults, expected) => {
      expect(resolved(own, defaults)).toBe(value(expected));
    });

    it(`takes ${key} from its named option if channelOptions sets the key to undefined`, () => {
      expect(resolved({ ...byName(A), channelOptions: { [key]: undefined } })).toBe(value(A));
    });
  });

  it('returns the grpc-js interceptors of channelOptions', () => {
    const interceptor = () => undefined;
    expect(resolve({ channelOptions: { interceptors: [interceptor] } }).settings.interceptors).toEqual([interceptor]);
  });

  it('takes load balancing from the client, else from its service config, else from the defaults', () => {
    const serviceConfig = { loadBalancingConfig: [{ round_robin: {} }] };
    expect(resolve({ serviceConfig }, { loadBalancing: 'pick_first' }).settings.channel.loadBalancing).toEqual([
      { round_robin: {} },
    ]);
    expect(resolve({}, { loadBalancing: 'round_robin' }).settings.channel.loadBalancing).toEqual([{ round_robin: {} }]);
    expect(resolve({ loadBalancing: [{ round_robin: {} }] }).settings.channel.loadBalancing).toEqual([
      { round_robin: {} },
    ]);
  });
});

describe('options for several endpoints', () => {
  it.each<[Partial<GrpcClientSettings>, number]>([
    [{}, 1],
    [{ loadBalancing: [{ pick_first: {} }] }, 1],
    [{ serviceConfig: { loadBalancingConfig: [{ unknown: {} }, { pick_first: {} }] } }, 1],
    [{ loadBalancing: 'round_robin' }, 0],
    [{ serviceConfig: { loadBalancingConfig: [{ unknown: {} }, { round_robin: {} }] } }, 0],
  ])('warns about ejectUnhealthy only if the load-balancing policy is pick_first: %j', (settings, count) => {
    const { warnings } = resolve({ ...settings, ejectUnhealthy: true });
    expect(warnings.filter((line) => line.startsWith('ejectUnhealthy has no effect'))).toHaveLength(count);
  });
});

it.each([
  [{}, 1],
  [{ maxConnectionsPerSubchannel: 4 }, 4],
])(
  'takes the maximum number of connections per address from connectionScaling of the service config: %j',
  (connectionScaling, count) => {
    expect(resolve({ serviceConfig: { connectionScaling } }).settings.channel.maxConnectionsPerEndpoint).toBe(count);
  },
);

describe('dnsRefreshMs', () => {
  const NAME = 'dns:///orders.shop:50051';
  const INTERVAL = 'grpc.dns_min_time_between_resolutions_ms';
  const list = [{ no_such_policy: {} }, { round_robin: {} }, { pick_first: {} }];

  it.each<[given: string, settings: Partial<GrpcClientSettings>, refreshMs: number | undefined]>([
    ['pick_first', { url: NAME }, undefined],
    ['round_robin', { url: NAME, loadBalancing: 'round_robin' }, 5_000],
    ['a name without a scheme', { url: 'orders:50051', loadBalancing: 'round_robin' }, 5_000],
    ['the first supported policy of a list', { url: NAME, loadBalancing: list }, 5_000],
    [
      'the policy of a service config',
      { url: NAME, serviceConfig: { loadBalancingConfig: [{ round_robin: {} }] } },
      5_000,
    ],
    [
      'the child policy of outlier detection',
      { url: NAME, loadBalancing: [{ outlier_detection: { childPolicy: [{ round_robin: {} }] } }] },
      5_000,
    ],
    ['an explicit value', { url: NAME, dnsRefreshMs: 1_000 }, 1_000],
    ['false', { url: NAME, loadBalancing: 'round_robin', dnsRefreshMs: false }, undefined],
    ['an IPv4 address', { url: '10.0.0.7:50051', loadBalancing: 'round_robin', dnsRefreshMs: 1_000 }, undefined],
    ['an IPv6 address', { url: '[::1]:50051', loadBalancing: 'round_robin', dnsRefreshMs: 1_000 }, undefined],
    ['a list of addresses', { url: 'ipv4:10.0.0.7:1,10.0.0.8:1', loadBalancing: 'round_robin' }, undefined],
    ['a Unix socket', { url: 'unix:/run/orders.sock', loadBalancing: 'round_robin' }, undefined],
    [
      'a longer minimum interval of grpc-js',
      { url: NAME, loadBalancing: 'round_robin', channelOptions: { [INTERVAL]: 30_000 } },
      30_000,
    ],
  ])('resolves dnsRefreshMs for %s', (_given, settings, refreshMs) => {
    expect(resolve(settings).settings.channel.dnsRefreshMs).toBe(refreshMs);
  });

  it('lowers the minimum lookup interval of grpc-js to dnsRefreshMs, but never raises it', () => {
    const intervalOf = (dnsRefreshMs: number | false) =>
      resolve({ url: NAME, dnsRefreshMs }).settings.channel.channelOptions[INTERVAL];
    expect([intervalOf(1_000), intervalOf(60_000), intervalOf(false)]).toEqual([1_000, 5_000, 5_000]);
  });
});

const retryPolicy = {
  maxAttempts: 9,
  initialBackoff: '0.2s',
  maxBackoff: '1s',
  backoffMultiplier: 3,
  retryableStatusCodes: ['UNAVAILABLE', 'ABORTED'],
};
const serviceConfig = {
  methodConfig: [
    {
      name: [{ service: 'shop.v1.Orders' }],
      timeout: '2s',
      waitForReady: true,
      maxRequestMessageBytes: 9,
      retryPolicy,
    },
  ],
};

describe('method policy', () => {
  it.each([
    ['the proto declares NO_SIDE_EFFECTS', {}, 'Get', 'proto idempotency_level'],
    ['the proto declares IDEMPOTENT', {}, 'Put', 'proto idempotency_level'],
    ['the proto declares nothing', {}, 'Create', ''],
    ['the proto declares IDEMPOTENCY_UNKNOWN', {}, 'GetHTTP', ''],
    [
      '`methods` sets idempotent: true',
      { methods: { 'Orders/Create': { idempotent: true } } },
      'Create',
      'methods["Orders/Create"].idempotent',
    ],
    ['the service config has a retryPolicy', { serviceConfig }, 'Create', 'serviceConfig retryPolicy'],
    ['`methods` overrides the proto with idempotent: false', { methods: { '*': { idempotent: false } } }, 'Get', ''],
    [
      '`methods` overrides a retryPolicy with idempotent: false',
      { serviceConfig, methods: { Create: { idempotent: false } } },
      'Create',
      '',
    ],
    [
      'the most specific pattern sets idempotent: true',
      { methods: { '*': { idempotent: false }, Create: { idempotent: true } } },
      'Create',
      'methods["Create"].idempotent',
    ],
  ])('resolves safeToRepeat and its reason if %s', (_, settings, method, because) => {
    const found = policy(settings, method);
    expect(found?.safeBecause).toBe(because);
    expect(found?.safeToRepeat).toBe(because !== '');
    expect(found?.retry !== undefined).toBe(because !== '');
  });

  it('applies the default retry policy or that of the service config, with at most 5 attempts, or the limit in channelOptions', () => {
    expect(policy({}, 'Get')?.retry).toMatchObject({
      maxAttempts: 4,
      initialBackoffMs: 100,
      maxBackoffMs: 2_000,
      backoffMultiplier: 2,
    });
    expect(policy({ serviceConfig }, 'Create')?.retry).toMatchObject({
      maxAttempts: 5,
      initialBackoffMs: 200,
      backoffMultiplier: 3,
    });
    const limitedTo = (limit: number) => ({ channelOptions: { 'grpc-node.retry_max_attempts_limit': limit } });
    expect(policy({ serviceConfig, ...limitedTo(7) }, 'Create')?.retry?.maxAttempts).toBe(7);
    expect(policy(limitedTo(2), 'Get')?.retry?.maxAttempts).toBe(2);
    expect(policy({ serviceConfig }, 'Create', limitedTo(3))?.retry?.maxAttempts).toBe(3);
  });

  it('applies timeoutMs to unary and client-streaming calls, and to a response stream only if `methods` sets it', () => {
    expect(policy({ timeoutMs: 500 }, 'Get')?.timeoutMs).toBe(500);
    expect(policy({ timeoutMs: 500 }, 'Upload')?.timeoutMs).toBe(500);
    expect(policy({ timeoutMs: 500 }, 'Watch')?.timeoutMs).toBeUndefined();
    expect(policy({ timeoutMs: 500, methods: { Watch: { timeoutMs: 9_000 } } }, 'Watch')?.timeoutMs).toBe(9_000);
    expect(policy({ methods: { Get: { timeoutMs: 700 } } }, 'Get', { timeoutMs: 500 })?.timeoutMs).toBe(700);
  });

  it('applies the smaller of timeoutMs and the timeout of the service config', () => {
    expect(policy({ serviceConfig, timeoutMs: 500 }, 'Get')?.timeoutMs).toBe(500);
    expect(policy({ serviceConfig, timeoutMs: 5_000 }, 'Get')?.timeoutMs).toBe(2_000);
    expect(policy({ serviceConfig }, 'Watch')?.timeoutMs).toBe(2_000);
  });

  it('takes waitForReady from `methods`, else from the service config, and leaves it undefined if neither sets it', () => {
    expect(policy({}, 'Get')?.waitForReady).toBeUndefined();
    expect(policy({ serviceConfig }, 'Get')?.waitForReady).toBe(true);
    expect(policy({ serviceConfig, methods: { 'G*': { waitForReady: false } } }, 'Get')?.waitForReady).toBe(false);
  });

  it('takes the message size limits from the service config', () => {
    expect(policy({ serviceConfig }, 'Get')).toMatchObject({
      maxRequestMessageBytes: 9,
      maxResponseMessageBytes: undefined,
    });
  });
});

describe('startup warnings', () => {
  const warnings = (settings: object) => resolve(settings).warnings;

  it('warns about a hedgingPolicy for a request stream and does not apply it', () => {
    const hedging = (method: string) => ({
      methodConfig: [{ name: [{ service: 'shop.v1.Orders', method }], hedgingPolicy: { maxAttempts: 2 } }],
    });
    expect(warnings({ serviceConfig: hedging('Upload') })).toEqual([
      'hedgingPolicy of shop.v1.Orders/Upload is not applied, because request streams are not hedged',
    ]);
    expect(policy({ serviceConfig: hedging('Upload') }, 'Upload')).toMatchObject({ safeToRepeat: false });
    expect(warnings({ serviceConfig: hedging('Create') })).toEqual([]);
  });

  it('warns about a service config for an unknown method of a known service', () => {
    const config = {
      methodConfig: [
        {
          name: [
            { service: 'shop.v1.Orders', method: 'Gett' },
            { service: 'other.Thing', method: 'Do' },
          ],
        },
      ],
    };
    expect(warnings({ serviceConfig: config })).toEqual([expect.stringContaining('shop.v1.Orders/Gett')]);
  });

  it('warns about a service config that names a service without its package', () => {
    const config = (service: string) => ({
      methodConfig: [{ name: [{ service, method: 'Get' }, { service }], timeout: '1s' }],
    });
    expect(warnings({ serviceConfig: config('Orders') })).toEqual([
      'serviceConfig names Orders, which the contract defines as shop.v1.Orders; write the full name',
    ]);
    expect(warnings({ serviceConfig: config('other.Orders') })).toEqual([]);
  });

  it('warns about a url without a port', () => {
    expect(warnings({ url: 'shop' })).toEqual(["url 'shop' has no port; gRPC uses 443; add the port"]);
    expect(warnings({ url: 'ipv4:10.0.0.1:1,10.0.0.2' })).toEqual([
      "url 'ipv4:10.0.0.1:1,10.0.0.2' has an address without a port; gRPC uses 443; add the port",
    ]);
    expect(warnings({ url: 'unix:/run/shop.sock' })).toEqual([]);
    expect(warnings({ url: 'xds:///shop' })).toEqual([]);
  });
});
