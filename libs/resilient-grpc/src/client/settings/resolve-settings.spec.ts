import { join } from 'node:path';
import { Metadata, credentials, experimental } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../testing/seeded-random.js';
import { systemClock } from '../../time/clock.js';
import type { GrpcClientDefaults } from './client-options.js';
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

describe('settings of which nothing is said', () => {
  it('are those of the design', () => {
    const { settings, warnings } = resolve({});
    expect(warnings).toEqual([]);
    expect(settings.channel).toMatchObject({
      target: 'shop:50051',
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
        'grpc.initial_reconnect_backoff_ms': 1_000,
        'grpc.max_reconnect_backoff_ms': 5_000,
        'grpc.per_rpc_retry_buffer_size': 65_536,
        'grpc.client_idle_timeout_ms': 200_000,
      },
    });
    expect(settings.channel.channelOptions).not.toHaveProperty('grpc.keepalive_time_ms');
    expect(settings.channel.credentials.current._isSecure()).toBe(false);
  });

  it('keep as much of request streams for further attempts as grpc-js would, whatever its own buffer is', () => {
    expect(resolve({}).settings.replayBytes).toEqual({ perCall: 1 << 20, perClient: 1 << 24 });
    const channelOptions = { 'grpc.per_rpc_retry_buffer_size': 5, 'grpc.retry_buffer_size': 7 };
    expect(resolve({ channelOptions }).settings.replayBytes).toEqual({ perCall: 5, perClient: 7 });
  });

  it('spread the grace of clients by ±10 %', () => {
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
    'bound the release of calls held for a grace of %i ms to %i ms, in all clients alike',
    (outageGraceMs, withinMs) => {
      expect(resolve({ outageGraceMs }, undefined, () => 0.999_999).settings.channel.releaseWithinMs).toBe(withinMs);
    },
  );
});

describe('settings over defaults', () => {
  it('win key by key, and undefined says nothing', () => {
    const { settings } = resolve(
      {
        connection: 'warm',
        maxWaitingCalls: undefined,
        maxWaitingBytes: undefined,
        keepalive: { keepaliveTimeMs: 30_000 },
        metadata: { a: 'own' },
      },
      {
        connection: 'on-demand',
        maxWaitingCalls: 7,
        maxWaitingBytes: 8,
        keepalive: { keepaliveTimeMs: 60_000, keepaliveTimeoutMs: 5_000 },
        metadata: { a: 'all', b: 'all' },
        channelOptions: { 'grpc.primary_user_agent': 'x' },
      },
    );
    expect(settings.channel).toMatchObject({ connection: 'warm', maxWaitingCalls: 7, maxWaitingBytes: 8 });
    expect(settings.channel.channelOptions).toMatchObject({
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.primary_user_agent': 'x',
    });
    expect(settings.metadata?.getMap()).toEqual({ a: 'own', b: 'all' });
  });

  it('show a target without the credentials that a resolver of the application takes', () => {
    class Resolver {
      updateResolution = () => undefined;
      destroy = () => undefined;
    }
    experimental.registerResolver('consul-of-shop', Resolver as never);
    const { settings } = resolve({ url: 'consul-of-shop://hush@agent:8500/orders' });
    expect(settings.target).toBe('consul-of-shop://***@agent:8500/orders');
    expect(settings.channel.target).toBe('consul-of-shop://hush@agent:8500/orders');
  });

  it('accept metadata of another copy of grpc-js, alone and joined', () => {
    const internalRepr = new Map([['a', ['1']]]);
    const foreign: any = { getMap: () => ({ a: '1' }), getOptions: () => ({}), internalRepr };
    expect(resolve({ metadata: foreign }).settings.metadata?.getMap()).toEqual({ a: '1' });
    const { settings } = resolve({ metadata: foreign }, { metadata: { a: '0', b: '2' } });
    expect(settings.metadata?.getMap()).toEqual({ a: '1', b: '2' });
  });

  it('join metadata of both kinds', () => {
    const base = new Metadata();
    base.add('a', '1');
    base.add('b', '1');
    const { settings } = resolve({ metadata: { a: ['2', '3'] } }, { metadata: base });
    expect([settings.metadata?.get('a'), settings.metadata?.get('b')]).toEqual([['2', '3'], ['1']]);
    expect(base.get('a')).toEqual(['1']);
  });

  it('do not mix their own way to be secure with that of the defaults', () => {
    const own = credentials.createInsecure();
    expect(resolve({ credentials: own }, { tls: {} }).settings.channel.credentials.current).toBe(own);
    expect(resolve({ tls: {} }, { credentials: own }).settings.channel.credentials.current._isSecure()).toBe(true);
  });
});

describe('options for grpc-js', () => {
  it('are ours with those of the user over them', () => {
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

  it('take the name of the server from tls', () => {
    expect(resolve({ tls: { serverName: 'orders.internal' } }).settings.channel.channelOptions).toMatchObject({
      'grpc.ssl_target_name_override': 'orders.internal',
    });
  });

  it('raise pings of `keepalive` that servers would punish, with a warning, and keep those of `channelOptions`', () => {
    const raised = resolve({ keepalive: { keepaliveTimeMs: 500 } });
    expect(raised.settings.channel.channelOptions['grpc.keepalive_time_ms']).toBe(10_000);
    expect(raised.warnings).toEqual([expect.stringContaining('too_many_pings')]);
    const chosen = { channelOptions: { 'grpc.keepalive_time_ms': 500 } };
    for (const settings of [chosen, { ...chosen, keepalive: { keepaliveTimeMs: 700 } }]) {
      const kept = resolve(settings);
      expect(kept.settings.channel.channelOptions['grpc.keepalive_time_ms']).toBe(500);
      expect(kept.warnings).toEqual([]);
    }
    expect(resolve({ keepalive: { keepaliveTimeMs: 0 } }).warnings).toEqual([]);
  });

  it('spread the first backoff of clients by ±50 %, which grpc-js does not, and never exceed the longest one', () => {
    const first = (random: number, channelOptions = {}) =>
      resolve({ channelOptions }, undefined, () => random).settings.channel.channelOptions[
        'grpc.initial_reconnect_backoff_ms'
      ];
    expect([first(0), first(0.5), first(0.999_999)]).toEqual([500, 1_000, 1_500]);
    const random = seededRandom(1);
    const many = Array.from({ length: 1_000 }, () => first(random()) ?? 0);
    const inSlot = (from: number) => many.filter((ms) => ms >= from && ms < from + 250).length;
    expect(Math.max(...many.map(inSlot))).toBeLessThan(350);
    expect(first(0, { 'grpc.initial_reconnect_backoff_ms': 1_000 })).toBe(1_000);
    expect(first(0.9, { 'grpc.max_reconnect_backoff_ms': 300 })).toBe(300);
  });

  describe.each<[key: string, byName: (value: number) => GrpcClientDefaults, value: (given: number) => unknown]>([
    ['grpc.client_idle_timeout_ms', (ms) => ({ connectionIdleTimeoutMs: ms }), Number],
    ['grpc.keepalive_time_ms', (ms) => ({ keepalive: { keepaliveTimeMs: ms } }), Number],
    ['grpc.keepalive_timeout_ms', (ms) => ({ keepalive: { keepaliveTimeoutMs: ms } }), Number],
    [
      'grpc.keepalive_permit_without_calls',
      (n) => ({ keepalive: { keepalivePermitWithoutCalls: n % 2 } }),
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
      ['the option', byName(A), undefined, A],
      ['`channelOptions`', byOption(A), undefined, A],
      ['`channelOptions` before the option', { ...byName(A), ...byOption(B) }, undefined, B],
      ['the option of the defaults', {}, byName(A), A],
      ['`channelOptions` of the defaults', {}, byOption(A), A],
      ['`channelOptions` of the defaults before their option', {}, { ...byName(A), ...byOption(B) }, B],
      ['the option before that of the defaults', byName(A), byName(B), A],
      ['the option before `channelOptions` of the defaults', byName(A), byOption(B), A],
      ['`channelOptions` before the option of the defaults', byOption(A), byName(B), A],
      ['`channelOptions` before those of the defaults', byOption(A), byOption(B), A],
    ])('is taken from %s', (_from, own, defaults, expected) => {
      expect(resolved(own, defaults)).toBe(value(expected));
    });

    it('is taken from the option if `channelOptions` have undefined', () => {
      expect(resolved({ ...byName(A), channelOptions: { [key]: undefined } })).toBe(value(A));
    });
  });

  it("hand grpc-js's interceptors on", () => {
    const interceptor = () => undefined;
    expect(resolve({ channelOptions: { interceptors: [interceptor] } }).settings.interceptors).toEqual([interceptor]);
  });

  it('balance as the client says, else its service config, else the defaults', () => {
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

describe('the policy of a method', () => {
  it.each([
    ['the proto says that it has no side effects', {}, 'Get', 'proto idempotency_level'],
    ['the proto says that it is idempotent', {}, 'Put', 'proto idempotency_level'],
    ['the proto says nothing', {}, 'Create', ''],
    ['the proto says that it is unknown', {}, 'GetHTTP', ''],
    [
      'methods say so',
      { methods: { 'Orders/Create': { idempotent: true } } },
      'Create',
      'methods["Orders/Create"].idempotent',
    ],
    ['a standard policy says so', { serviceConfig }, 'Create', 'serviceConfig retryPolicy'],
    ['methods say no, against the proto', { methods: { '*': { idempotent: false } } }, 'Get', ''],
    [
      'methods say no, against a standard policy',
      { serviceConfig, methods: { Create: { idempotent: false } } },
      'Create',
      '',
    ],
    [
      'the most exact pattern says so',
      { methods: { '*': { idempotent: false }, Create: { idempotent: true } } },
      'Create',
      'methods["Create"].idempotent',
    ],
  ])('is to repeat or not: %s', (_, settings, method, because) => {
    const found = policy(settings, method);
    expect(found?.safeBecause).toBe(because);
    expect(found?.safeToRepeat).toBe(because !== '');
    expect(found?.retry !== undefined).toBe(because !== '');
  });

  it('retries by the default policy where none is named, and by the standard one within the limit', () => {
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
    expect(policy({ serviceConfig, maxAttemptsLimit: 7 }, 'Create')?.retry?.maxAttempts).toBe(7);
    expect(policy({ maxAttemptsLimit: 2 }, 'Get')?.retry?.maxAttempts).toBe(2);
    expect(policy({ serviceConfig }, 'Create', { maxAttemptsLimit: 3 })?.retry?.maxAttempts).toBe(3);
  });

  it('bounds calls that answer once by the timeout, and a response stream only by one that names it', () => {
    expect(policy({ timeoutMs: 500 }, 'Get')?.timeoutMs).toBe(500);
    expect(policy({ timeoutMs: 500 }, 'Upload')?.timeoutMs).toBe(500);
    expect(policy({ timeoutMs: 500 }, 'Watch')?.timeoutMs).toBeUndefined();
    expect(policy({ timeoutMs: 500, methods: { Watch: { timeoutMs: 9_000 } } }, 'Watch')?.timeoutMs).toBe(9_000);
    expect(policy({ methods: { Get: { timeoutMs: 700 } } }, 'Get', { timeoutMs: 500 })?.timeoutMs).toBe(700);
  });

  it('holds the lesser of our timeout and the standard one', () => {
    expect(policy({ serviceConfig, timeoutMs: 500 }, 'Get')?.timeoutMs).toBe(500);
    expect(policy({ serviceConfig, timeoutMs: 5_000 }, 'Get')?.timeoutMs).toBe(2_000);
    expect(policy({ serviceConfig }, 'Watch')?.timeoutMs).toBe(2_000);
  });

  it('waits for ready as methods say, else as the standard says, else within the grace', () => {
    expect(policy({}, 'Get')?.waitForReady).toBeUndefined();
    expect(policy({ serviceConfig }, 'Get')?.waitForReady).toBe(true);
    expect(policy({ serviceConfig, methods: { 'G*': { waitForReady: false } } }, 'Get')?.waitForReady).toBe(false);
  });

  it('has the message limits of the standard', () => {
    expect(policy({ serviceConfig }, 'Get')).toMatchObject({
      maxRequestMessageBytes: 9,
      maxResponseMessageBytes: undefined,
    });
  });
});

describe('a start is warned', () => {
  const warnings = (settings: object) => resolve(settings).warnings;

  it('of a hedging policy for a stream of requests, which is sent once', () => {
    const hedging = (method: string) => ({
      methodConfig: [{ name: [{ service: 'shop.v1.Orders', method }], hedgingPolicy: { maxAttempts: 2 } }],
    });
    expect(warnings({ serviceConfig: hedging('Upload') })).toEqual([
      'hedgingPolicy of shop.v1.Orders/Upload is not applied: a stream of requests is sent once',
    ]);
    expect(policy({ serviceConfig: hedging('Upload') }, 'Upload')).toMatchObject({ safeToRepeat: false });
    expect(warnings({ serviceConfig: hedging('Create') })).toEqual([]);
  });

  it('of a method in the service config that a known service does not have', () => {
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

  it('of a service in the service config by its short name, which means no method', () => {
    const config = (service: string) => ({
      methodConfig: [{ name: [{ service, method: 'Get' }, { service }], timeout: '1s' }],
    });
    expect(warnings({ serviceConfig: config('Orders') })).toEqual([
      'serviceConfig names Orders, which the definition has as shop.v1.Orders',
    ]);
    expect(warnings({ serviceConfig: config('other.Orders') })).toEqual([]);
  });

  it('of a url without a port', () => {
    expect(warnings({ url: 'shop' })).toEqual(["url 'shop' has no port: gRPC takes 443"]);
    expect(warnings({ url: 'unix:/run/shop.sock' })).toEqual([]);
    expect(warnings({ url: 'xds:///shop' })).toEqual([]);
  });
});
