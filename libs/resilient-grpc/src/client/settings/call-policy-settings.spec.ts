import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { NEVER, Subject } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { OutgoingCall } from '../interceptors/call-hooks.js';
import type { GrpcClientDefaults, PropagationOptions } from './client-options.js';
import { loadContract, type Services } from './contract.js';
import { resolveSettings } from './resolve-settings.js';

const loaded = loadContract({ protoPath: join(import.meta.dirname, 'fixtures/shop.proto') }, 'clients.shop');
if (!loaded.ok) throw new Error('the fixture does not load');
const { services } = loaded;
const url = 'shop:50051';
const clock = new VirtualClock();
let warnings: string[] = [];

function resolution(
  settings: unknown,
  defaults?: GrpcClientDefaults,
  propagate?: PropagationOptions,
  contract: Services = services,
) {
  warnings = [];
  return resolveSettings(
    { name: 'shop', path: 'clients.shop', services: contract, settings, defaults, propagate },
    { clock, random: () => 0.5, report: (message) => warnings.push(message) },
  );
}

function resolve(settings: object, defaults?: GrpcClientDefaults, propagate?: PropagationOptions) {
  const resolved = resolution({ url, ...settings }, defaults, propagate);
  if (!resolved.ok) throw new Error(JSON.stringify(resolved.problems));
  return resolved.settings;
}

function problems(settings: object): string[] {
  const resolved = resolution({ url, ...settings });
  return resolved.ok ? [] : resolved.problems.map(({ path, message }) => `${path}: ${message}`);
}

const policy = (settings: object, method: string) => resolve(settings).policies.get(`/shop.v1.Orders/${method}`);

describe('call policy settings', () => {
  it('sets no interceptors, propagation, call limits, hedging, attempt timeout, or circuit breaker if none is given', () => {
    const { hooks, metadataSource, propagation, live, maxConcurrentCalls } = resolve({});
    expect([hooks, metadataSource, propagation, live, maxConcurrentCalls]).toEqual(Array(5).fill(undefined));
    expect(policy({}, 'Get')).toMatchObject({
      hedging: undefined,
      attemptTimeoutMs: undefined,
      circuitBreaker: undefined,
      maxConcurrentCalls: undefined,
    });
  });

  it('hedges a safe method with a measured hedge, and takes maxAttempts and the status codes from its retry policy', () => {
    const methods = { '*': { hedge: 'p95' } };
    const config = {
      methodConfig: [
        {
          name: [{ service: 'shop.v1.Orders', method: 'Put' }],
          retryPolicy: {
            maxAttempts: 3,
            initialBackoff: '1s',
            maxBackoff: '1s',
            backoffMultiplier: 1,
            retryableStatusCodes: ['ABORTED'],
          },
        },
      ],
    };
    const hedgingOf = (method: string) => policy({ methods, serviceConfig: config }, method);
    expect(hedgingOf('Get')).toMatchObject({
      hedgingDelay: 'p95',
      hedging: { maxAttempts: 4, hedgingDelayMs: Infinity, nonFatalStatusCodes: new Set([14]) },
      retry: undefined,
    });
    expect(hedgingOf('Put')?.hedging).toMatchObject({ maxAttempts: 3, nonFatalStatusCodes: new Set([10]) });
    for (const method of ['Create', 'Upload', 'Session', 'Watch']) expect(hedgingOf(method)?.hedging).toBeUndefined();
  });

  it('hedges after a fixed delay if `hedge` is a number, and keeps the attempts and status codes of a hedgingPolicy', () => {
    expect(policy({ methods: { Get: { hedge: 75 } } }, 'Get')).toMatchObject({
      hedgingDelay: undefined,
      hedging: { maxAttempts: 4, hedgingDelayMs: 75, nonFatalStatusCodes: new Set([14]) },
    });
    const hedgingPolicy = { maxAttempts: 2, hedgingDelay: '9s', nonFatalStatusCodes: ['ABORTED'] };
    const serviceConfig = { methodConfig: [{ name: [{}], hedgingPolicy }] };
    expect(policy({ serviceConfig, methods: { Get: { hedge: 75 } } }, 'Get')?.hedging).toEqual({
      maxAttempts: 2,
      hedgingDelayMs: 75,
      nonFatalStatusCodes: new Set([10]),
    });
  });

  it('takes the retry policy of a method from `retry`, which makes the method safe to repeat, before that of the service config', () => {
    const hedgingPolicy = { maxAttempts: 2 };
    const serviceConfig = { methodConfig: [{ name: [{}], hedgingPolicy }] };
    const retry = { maxAttempts: 9, initialBackoffMs: 200, retryableStatusCodes: ['ABORTED'] };
    expect(policy({ serviceConfig, methods: { Create: { retry } } }, 'Create')).toMatchObject({
      safeBecause: 'methods["Create"].retry',
      retry: {
        maxAttempts: 5,
        initialBackoffMs: 200,
        maxBackoffMs: 2_000,
        backoffMultiplier: 2,
        retryableStatusCodes: new Set([10]),
      },
      hedging: undefined,
    });
    const forbidden = { methods: { Create: { retry, idempotent: false } } };
    expect(policy(forbidden, 'Create')).toMatchObject({ safeToRepeat: false, retry: undefined });
  });

  it('warns about a method option that has no effect on the method that its pattern names', () => {
    const methods = {
      Create: { hedge: 'p95' },
      Upload: { idempotent: true, hedge: 'p95' },
      Watch: { maxConcurrentCalls: 'adaptive' },
      '*': { hedge: 'p99', maxConcurrentCalls: 'adaptive' },
    };
    expect(resolution({ url, methods })).toMatchObject({
      warnings: [
        'methods.Create.hedge has no effect, because the method is not declared safe to repeat; write idempotent: true if it can be repeated safely',
        "methods.Watch.maxConcurrentCalls has no effect, because 'adaptive' follows the latency of unary calls; write a number",
        'methods.Upload.hedge has no effect, because request streams are not hedged',
      ],
    });
  });

  it('warns once about a method option that has no effect on several methods that its pattern names', () => {
    const protoPath = ['shop.proto', 'archive.proto'].map((file) => join(import.meta.dirname, 'fixtures', file));
    const both = loadContract({ protoPath }, 'clients.shop');
    if (!both.ok) throw new Error('the fixtures do not load');
    const methods = { Create: { hedge: 'p95' } };
    expect(resolution({ url, methods }, undefined, undefined, both.services)).toMatchObject({
      warnings: [expect.stringMatching(/^methods\.Create\.hedge has no effect, because the method is not declared/)],
    });
  });

  it('ignores the timeouts of less specific settings if a method or a client sets Infinity, but applies the timeout of the service config', () => {
    const none = { timeoutMs: undefined, attemptTimeoutMs: undefined, streamIdleTimeoutMs: undefined };
    const limits = { timeoutMs: 1_000, attemptTimeoutMs: 300, streamIdleTimeoutMs: 2_000 };
    const unlimited = { timeoutMs: Infinity, attemptTimeoutMs: Infinity, streamIdleTimeoutMs: Infinity };
    const methods = { '*': limits, Get: unlimited, Watch: unlimited };
    expect(policy({ methods }, 'Get')).toMatchObject(none);
    expect(policy({ methods }, 'Watch')).toMatchObject(none);
    expect(policy({ methods }, 'Put')).toMatchObject(limits);
    const client = { timeoutMs: 1_000, streamIdleTimeoutMs: 2_000 };
    expect(policy({ ...client, methods: { Get: unlimited } }, 'Get')).toMatchObject(none);
    const own = { timeoutMs: Infinity, streamIdleTimeoutMs: Infinity };
    expect(resolve(own, client).policies.get('/shop.v1.Orders/Get')).toMatchObject(none);
    const serviceConfig = { methodConfig: [{ name: [{}], timeout: '3s' }] };
    expect(policy({ serviceConfig, methods }, 'Get')).toMatchObject({ timeoutMs: 3_000 });
  });

  it('turns off an inherited option of a method, or the limit of a client, with false', () => {
    const methods = {
      '*': { circuitBreaker: {}, hedge: 'p95', maxConcurrentCalls: 5 },
      Get: { circuitBreaker: false, hedge: false, maxConcurrentCalls: false },
    };
    expect(policy({ methods }, 'Get')).toMatchObject({
      circuitBreaker: undefined,
      hedgingDelay: undefined,
      hedging: undefined,
      retry: { maxAttempts: 4 },
      maxConcurrentCalls: undefined,
    });
    expect(policy({ methods }, 'Put')).toMatchObject({ hedgingDelay: 'p95', maxConcurrentCalls: { maxConcurrent: 5 } });
    expect(resolve({ maxConcurrentCalls: false }, { maxConcurrentCalls: 5 }).maxConcurrentCalls).toBeUndefined();
  });

  it('merges the options of all matching method patterns key by key, and prefers the most specific pattern', () => {
    const methods = {
      '*': { attemptTimeoutMs: 300, maxConcurrentCalls: 5, circuitBreaker: { minimumThroughput: 7 } },
      Get: { attemptTimeoutMs: 100 },
    };
    expect(policy({ methods }, 'Get')).toMatchObject({
      attemptTimeoutMs: 100,
      maxConcurrentCalls: { maxConcurrent: 5 },
      circuitBreaker: { minimumThroughput: 7, failureRatio: 0.5, breakDurationMs: 5_000 },
    });
    expect(policy({ methods: { Get: { circuitBreaker: {} } } }, 'Get')?.circuitBreaker?.minimumThroughput).toBe(20);
  });

  it('hedges instead of retrying if a hedgingPolicy applies to a method that has neither a request stream nor idempotent: false', () => {
    const hedgingPolicy = { maxAttempts: 9, hedgingDelay: '0.1s', nonFatalStatusCodes: ['UNAVAILABLE'] };
    const serviceConfig = { methodConfig: [{ name: [{}], hedgingPolicy }] };
    expect(policy({ serviceConfig }, 'Create')).toMatchObject({
      safeToRepeat: true,
      safeBecause: 'serviceConfig hedgingPolicy',
      retry: undefined,
      hedging: { maxAttempts: 5, hedgingDelayMs: 100 },
    });
    expect(policy({ serviceConfig, methods: { '*': { idempotent: false } } }, 'Get')).toMatchObject({
      retry: undefined,
      hedging: undefined,
    });
    expect(policy({ serviceConfig, methods: { Upload: { idempotent: true } } }, 'Upload')).toMatchObject({
      retry: { maxAttempts: 4 },
      hedging: undefined,
    });
  });
});

describe('metadata settings', () => {
  const call = { metadata: new Metadata() } as OutgoingCall;
  const map = async (settings: object, defaults: GrpcClientDefaults) =>
    (await resolve(settings, defaults).metadataSource!(call)).getMap();

  it('merges static metadata with that of a function, and lets the client override the defaults', async () => {
    expect(resolve({ metadata: () => ({ a: '1' }) }).metadata).toBeUndefined();
    await expect(map({ metadata: () => ({ a: 'own' }) }, { metadata: { a: 'all', b: 'all' } })).resolves.toEqual({
      a: 'own',
      b: 'all',
    });
    await expect(map({ metadata: { a: 'own' } }, { metadata: async () => ({ a: 'all', b: 'all' }) })).resolves.toEqual({
      a: 'own',
      b: 'all',
    });
  });

  it('omits values from errors about metadata that a function returns', async () => {
    const resolveWith = (value: unknown) => map({ metadata: () => value }, {});
    await expect(resolveWith({ 'x-a': 'hush\n' })).rejects.toThrow(
      /^the metadata function returned an invalid 'x-a': expected printable ASCII, got a value that begins or ends with a line break or a tab; trim the value$/,
    );
    await expect(resolveWith({ 'x-a': 'h\nush' })).rejects.toThrow(
      /^the metadata function returned an invalid 'x-a': expected printable ASCII; write a key that ends in '-bin'/,
    );
    await expect(resolveWith('hush')).rejects.toThrow(
      /^expected the metadata function to return an object such as .*, got a string of length 4$/,
    );
  });
});

describe('propagation settings', () => {
  const propagation = (root?: PropagationOptions, own?: false | PropagationOptions, all?: false | PropagationOptions) =>
    resolve({ propagate: own }, { propagate: all }, root).propagation;

  it('takes propagation from forRoot, and lets the defaults and the client override it key by key', () => {
    expect(propagation({ deadline: true, metadata: ['X-Request-Id', 'x-request-id'] })).toEqual({
      deadline: true,
      cancellation: false,
      metadata: ['x-request-id'],
      dropped: undefined,
    });
    expect(propagation({ deadline: true }, { deadline: false, cancellation: true }, { metadata: ['a'] })).toMatchObject(
      {
        deadline: false,
        cancellation: true,
        metadata: ['a'],
      },
    );
    expect(propagation(undefined, { cancellation: true })).toMatchObject({ deadline: false, cancellation: true });
    expect(propagation({})).toMatchObject({ deadline: false, cancellation: false, metadata: [] });
  });

  it('disables propagation if the client sets it to false, or if the defaults do and the client does not set it', () => {
    expect(propagation({ deadline: true }, false)).toBeUndefined();
    expect(propagation({ deadline: true }, undefined, false)).toBeUndefined();
    expect(propagation({ deadline: true }, { cancellation: true }, false)).toMatchObject({ cancellation: true });
  });
});

it('does not subscribe to the service config if other settings are invalid', () => {
  const source = new Subject<object>();
  expect(problems({ serviceConfig: source, timeoutMs: -1 })).toHaveLength(1);
  expect(source.observed).toBe(false);
  expect(problems({ serviceConfig: NEVER })).toEqual([]);
});

describe('validation of call policy settings', () => {
  it.each<[path: string, settings: object]>([
    ['methods.Get.attemptTimeoutMs', { methods: { Get: { attemptTimeoutMs: 0 } } }],
    ['attemptTimeoutMs', { attemptTimeoutMs: 5 }],
    ['maxConcurrentCalls', { maxConcurrentCalls: 0 }],
    ['maxConcurrentCalls', { maxConcurrentCalls: 'adaptve' }],
    ['methods.Get.hedge', { methods: { Get: { hedge: 'p95th' } } }],
    ['methods.Get.retry.maxAttempts', { methods: { Get: { retry: { maxAttempts: 1 } } } }],
    ['methods.Get.hedge', { methods: { Get: { hedge: 0 } } }],
    [
      'serviceConfig.methodConfig[0].hedgingPolicy.hedgingDelay',
      {
        serviceConfig: {
          methodConfig: [{ name: [{}], hedgingPolicy: { maxAttempts: 2, hedgingDelay: 'p95' } }],
        },
      },
    ],
    ['methods["*"].maxConcurrentCalls', { methods: { '*': { maxConcurrentCalls: 0 } } }],
    ['maxConcurrentCalls.queue', { maxConcurrentCalls: { max: 1, queue: 0.5 } }],
    ['methods.Get.circuitBreaker', { methods: { Get: { circuitBreaker: true } } }],
    ['methods.Get.circuitBreaker.failureRatio', { methods: { Get: { circuitBreaker: { failureRatio: 50 } } } }],
    ['interceptors', { interceptors: { onCall() {} } }],
    ['interceptors[0]', { interceptors: [() => undefined] }],
    ['propagate', { propagate: true }],
    ['propagate.metadata', { propagate: { metadata: 'x-request-id' } }],
    ['propagate.metadata[0]', { propagate: { metadata: ['x-*'] } }],
    ['propagate.metadata[0]', { propagate: { metadata: ['grpc-timeout'] } }],
    ['propagate.metadata[1]', { propagate: { metadata: ['a', 'Host'] } }],
  ])('reports one problem at %s for %o', (path, settings) => {
    expect(problems(settings)).toEqual([expect.stringMatching(/: (?:expected .+, got .+|unknown option.*)$/s)]);
    expect(problems(settings)[0]).toContain(`clients.shop.${path}: `);
  });

  it.each([
    ['undefined for optional keys', { maxConcurrentCalls: undefined, interceptors: undefined, propagate: undefined }],
    ['authorization as an explicit metadata key', { propagate: { metadata: ['authorization', 'cookie'] } }],
    [
      'an interceptor class',
      {
        interceptors: [
          class {
            onCall() {}
          },
        ],
      },
    ],
    ['an empty list of interceptors', { interceptors: [] }],
  ])('accepts call policy settings with %s', (_, settings) => {
    expect(problems(settings)).toEqual([]);
  });
});
