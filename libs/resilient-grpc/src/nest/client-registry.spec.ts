import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { BehaviorSubject, Subject } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InternalGrpcClient } from '../client/create-client.js';
import type { ResolvedClientSettings } from '../client/settings/resolved-settings.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { systemClock } from '../time/clock.js';
import { defineClients, type ClientDefinition } from './client-definition.js';
import { ClientRegistry } from './client-registry.js';
import { GrpcLifecycle, type HttpServerState } from './grpc-lifecycle.js';
import type { GrpcClientOptions } from './module-options.js';

const protoPath = join(import.meta.dirname, '../client/settings/fixtures/shop.proto');
const shop: GrpcClientOptions = { name: 'shop', protoPath, url: 'shop:50051' };

/** Creates a fake client that records the calls to `drain`, `endStreams`, and `close`. */
function makeFakeClient(settings: ResolvedClientSettings) {
  const connectivity$ = new BehaviorSubject({ state: 'IDLE', since: new Date(0) });
  const methodCalls: string[] = [];
  return {
    name: settings.name,
    target: settings.target,
    settings,
    methodCalls,
    connectivity$,
    drain: async (options?: { timeoutMs?: number }) => {
      methodCalls.push(`drain ${String(options?.timeoutMs)}`);
      connectivity$.complete();
      return { finished: 2, failed: 0, completed: 1, ended: 0, cancelled: 0, cutOffByPath: {}, durationMs: 5 };
    },
    endStreams: async () => {
      methodCalls.push('end streams');
    },
    noteShutdown: () => undefined,
    registry: { hasFinishingStream: false, hasCutOffStream: false },
    activeCalls: () => [{ path: '/shop.v1.Shop/Buy' }],
    close: async () => {
      methodCalls.push('close');
      connectivity$.complete();
    },
  };
}
type FakeClient = ReturnType<typeof makeFakeClient>;

let made: FakeClient[];
let registry: ClientRegistry;
let lines: string[];

beforeEach(() => {
  made = [];
  lines = [];
  registry = new ClientRegistry({
    createClient: (settings) => {
      const client = makeFakeClient(settings);
      made.push(client);
      return client as unknown as InternalGrpcClient;
    },
    clock: systemClock,
    random: () => 0.5,
  });
  Logger.overrideLogger({
    log: (message: string, context: string) => lines.push(`LOG [${context}] ${message}`),
    warn: (message: string, context: string) => lines.push(`WARN [${context}] ${message}`),
    error: () => undefined,
  });
});
afterEach(() => Logger.overrideLogger(false));

function define(options: object, place = 'a.ts:1'): ClientDefinition {
  const defined = defineClients([options], 'sync', place);
  if (!defined.ok) throw new Error(JSON.stringify(defined.problems));
  return defined.definitions[0]!;
}
const obtain = (options: object, place?: string) => {
  const definition = define(options, place);
  return registry.obtain(definition, definition.settings);
};
const configure = (options: object, place: string) => {
  registry.configure(options, place);
  return registry.rootVerdict();
};
const problemsOf = async (work: Promise<unknown>): Promise<string[]> => {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof GrpcConfigurationError)) throw new Error(`no configuration error: ${String(error)}`);
  return error.problems.map(({ path, message }) => `${path}: ${message}`);
};

describe('client name', () => {
  it('creates one client if modules share one definition, even if its factory returns different settings', async () => {
    const options = { ...shop };
    const first = await registry.obtain(define(options), {
      url: 'shop:1',
      channelOptions: { interceptors: [() => undefined] },
    });
    const second = await registry.obtain(define(options), {
      url: 'shop:1',
      channelOptions: { interceptors: [() => undefined] },
    });
    expect(second).toBe(first);
  });

  it('hides secrets in the differences between two client definitions', async () => {
    await obtain({ ...shop, metadata: { authorization: 'hush1' } });
    const [problem] = await problemsOf(obtain({ ...shop, metadata: { authorization: 'hush2' } }));
    expect(problem).toContain('with different metadata;');
    expect(problem).not.toContain('hush');
  });
});

describe('startup', () => {
  it('makes startup fail with the problems of all clients, and closes the clients created so far', async () => {
    await obtain(shop);
    const results = await Promise.all([
      problemsOf(obtain({ ...shop, name: 'a', url: '' })),
      problemsOf(obtain({ ...shop, name: 'b', timeoutMs: -1 })),
      problemsOf(configure({ drain: { timeoutMs: -1 } }, 'root.ts:1')),
    ]);
    for (const problems of results) {
      expect(problems.map((problem) => problem.split(':')[0])).toEqual(
        expect.arrayContaining(['clients.a.url', 'clients.b.timeoutMs', 'forRoot.drain.timeoutMs']),
      );
    }
    expect(made[0]?.methodCalls).toEqual(['close', 'close', 'close']);
  });

  it.each([
    [{}, 5_000, 'calls wait up to 5.0 s during an outage'],
    [{}, 0, 'calls do not wait during an outage'],
    [
      { Get: { waitForReady: true } },
      5_000,
      'calls wait up to 5.0 s during an outage, unless their method sets waitForReady',
    ],
  ])(
    'logs how long calls wait with the methods %j and a grace period of %d ms',
    async (methods, outageGraceMs, wait) => {
      await obtain({ ...shop, methods, outageGraceMs });
      expect(lines[0]?.split(' | ').at(-1)).toBe(wait);
    },
  );

  it('logs how to declare methods safe to repeat if a client has none', async () => {
    await obtain({ ...shop, methods: { '*': { idempotent: false } } });
    expect(lines).toEqual([
      expect.stringContaining(
        '| safe to repeat: none (declare reads with idempotency_level in the proto, or with methods: { <method>: { idempotent: true } }) |',
      ),
    ]);
  });

  it('rejects a second forRoot, and a forRoot after a client was created', async () => {
    registry.configure({ defaults: { timeoutMs: 7 } }, 'a.ts:1');
    await obtain(shop);
    expect(made[0]?.settings.policies.get('/shop.v1.Orders/Create')?.timeoutMs).toBe(7);
    expect(await problemsOf(configure({}, 'b.ts:2'))).toEqual([
      'forRoot: called twice, at a.ts:1 and at b.ts:2; keep one call, in the root module',
      "forRoot: called after clients were created ('shop'); import it in the root module",
    ]);
  });
});

describe('client created at run time', () => {
  it('lists the known clients in the error about an unknown one, or reports that no client exists yet', async () => {
    expect(() => registry.get('shop')).toThrow("No gRPC client 'shop'; no client exists yet");
    await obtain(shop);
    expect(() => registry.get('shpo')).toThrow("No gRPC client 'shpo'; known clients: 'shop'");
  });
});

describe('shutdown', () => {
  const makeLifecycle = ({
    testing = true,
    listens = true,
    httpServer = async (): Promise<HttpServerState | undefined> => ({ isListening: false, connections: 2 }),
  } = {}) => {
    const clock = new VirtualClock();
    const hooks = new GrpcLifecycle(registry, {
      clock,
      signals: { testing, listensForSignals: () => listens, onInterrupt: () => () => undefined },
      httpServer,
      closeFailureLogs: () => undefined,
    });
    return { clock, hooks };
  };

  it('ends client streams first at shutdown, then drains all clients once, and logs one line at the start and one at the end', async () => {
    await obtain(shop);
    registry.create({ ...shop, name: 'tenant' });
    lines = [];
    const { hooks, clock } = makeLifecycle();
    await hooks.beforeApplicationShutdown();
    expect(registry.accepting).toBe(false);
    expect(made.map(({ methodCalls }) => methodCalls)).toEqual([['end streams'], ['end streams']]);
    clock.advance(1_500);
    await Promise.all([hooks.onApplicationShutdown(), hooks.onApplicationShutdown()]);
    await hooks.beforeApplicationShutdown();
    expect(made.map(({ methodCalls }) => methodCalls)).toEqual(Array(2).fill(['end streams', 'drain 6500']));
    expect(lines).toEqual([
      'LOG [ResilientGrpc] shutdown started with 2 calls to /shop.v1.Shop/Buy running; calls that do not end within 8 s (drain.timeoutMs of ResilientGrpcModule) are cut off',
      'LOG [ResilientGrpc] 2 clients drained 1.5 s after the shutdown started: 4 calls finished, 2 streams completed, 0 cut off',
    ]);
    expect(clock.pending).toBe(0);
  });

  it('keeps client streams open until the server in the same process has notified its streams', async () => {
    await obtain(shop);
    const { hooks } = makeLifecycle();
    let served: () => void = () => undefined;
    hooks.endAfter({
      draining: false,
      streamsNotified: () => new Promise<void>((resolve) => (served = resolve)),
      cutOff: () => undefined,
      run: () => Promise.resolve(),
    });
    const first = hooks.beforeApplicationShutdown();
    await Promise.resolve();
    expect([registry.accepting, made[0]?.methodCalls]).toEqual([false, []]);
    served();
    await first;
    expect(made[0]?.methodCalls).toEqual(['end streams']);
    await hooks.onApplicationShutdown();
  });

  it('drains clients even if the drain of a server in the same process fails', async () => {
    await obtain(shop);
    const { hooks } = makeLifecycle();
    hooks.endAfter({
      draining: false,
      streamsNotified: () => Promise.reject(new Error('broken')),
      cutOff: () => undefined,
      run: () => Promise.reject(new Error('broken')),
    });
    await hooks.beforeApplicationShutdown();
    await hooks.onApplicationShutdown();
    expect(made[0]?.methodCalls).toEqual(['end streams', 'drain 8000']);
  });

  it.each([
    [
      'suggests onDrain if the application has an HTTP server',
      { isListening: false, connections: 2 },
      "; for relayed streams, set onDrain: 'complete' (the default in resumable) or 'fail'",
    ],
    ['does not suggest onDrain if the application has no HTTP server', undefined, ''],
  ])('%s and does not close in time while response streams are open', async (_when, http, remedy) => {
    await obtain(shop);
    made[0]!.registry.hasFinishingStream = true;
    lines = [];
    const { hooks, clock } = makeLifecycle({ httpServer: async () => http });
    await hooks.beforeApplicationShutdown();
    await clock.advanceAsync(8_000);
    expect(lines[1]?.split('; closing')[1]).toBe(` gRPC clients now${remedy}`);
  });

  it.each([
    [false, 'to give calls more time, raise drain.timeoutMs (8 s) of ResilientGrpcModule.forRoot()'],
    [
      true,
      "for streams without an end, set onDrain: 'complete' (the default in resumable) or 'fail'; " +
        'to give other calls more time, raise drain.timeoutMs (8 s) of ResilientGrpcModule.forRoot()',
    ],
  ])(
    'suggests a remedy in the last log line of the shutdown if a client cut off calls (including response streams: %s)',
    async (hasCutOffStream, remedy) => {
      await obtain(shop);
      // The registry removes this client when the client closes.
      registry.create({ ...shop, name: 'tenant' });
      const [, tenant] = made;
      const counts = { finished: 0, failed: 0, completed: 0, ended: 0, cancelled: 1 };
      const report = { ...counts, cutOffByPath: { '/shop.v1.Shop/Watch': 1 }, durationMs: 5 };
      const { hooks, clock } = makeLifecycle();
      tenant!.drain = async () => {
        clock.advance(8_000);
        tenant!.registry.hasCutOffStream = hasCutOffStream;
        tenant!.connectivity$.complete();
        return report;
      };
      await hooks.onApplicationShutdown();
      expect(lines.at(-1)).toMatch(/^WARN .* 1 cut off \(at the timeout: 1 call to \/shop.v1.Shop\/Watch\); /);
      expect(lines.at(-1)).toContain(`Watch); ${remedy}`);
    },
  );

  it.each([
    ['is open', true, '1 call to /shop.v1.Shop/Buy', '; 1 call to /shop.v1.Shop/Buy'],
    ['is closed and nothing is open', false, '', ''],
  ])(
    'mentions shutdown hooks if the application does not close and its HTTP server %s',
    async (_what, isListening, open, cause) => {
      await obtain(shop);
      if (open === '') made[0]!.activeCalls = () => [];
      lines = [];
      const { hooks, clock } = makeLifecycle({ httpServer: async () => ({ isListening, connections: 0 }) });
      await hooks.beforeApplicationShutdown();
      await clock.advanceAsync(8_000);
      expect(lines).toContain(
        `WARN [ResilientGrpc] the application did not close within 8 s (a shutdown hook or a microservice has not ended${cause}); ` +
          'closing gRPC clients now, so later calls fail; shorten the hook, or raise drain.timeoutMs of ResilientGrpcModule.forRoot()',
      );
    },
  );

  it('measures the drain timeout from the first shutdown hook, and accepts new clients until the second', async () => {
    await obtain(shop);
    const { hooks, clock } = makeLifecycle();
    hooks.onModuleDestroy();
    clock.advance(1_000);
    hooks.onModuleDestroy();
    clock.advance(1_000);
    // The application is not ready, but clients can still be created.
    expect([registry.accepting, made[0]?.methodCalls]).toEqual([false, []]);
    registry.create({ ...shop, name: 'tenant' });
    await hooks.beforeApplicationShutdown();
    expect(() => registry.create({ ...shop, name: 'late' })).toThrow('the application is shutting down');
    clock.advance(500);
    await hooks.onApplicationShutdown();
    expect(made[0]?.methodCalls).toEqual(['end streams', 'drain 5500']);
    expect(clock.pending).toBe(0);
  });

  it('applies the drain timeout of the shutdown to clients that were created after the first shutdown hook', async () => {
    const { hooks, clock } = makeLifecycle();
    hooks.onModuleDestroy();
    expect(clock.pending).toBe(0);
    clock.advance(4_000);
    registry.create(shop);
    await hooks.beforeApplicationShutdown();
    await clock.advanceAsync(3_999);
    expect(made[0]?.methodCalls).toEqual(['end streams']);
    await clock.advanceAsync(1);
    expect(made[0]?.methodCalls).toEqual(['end streams', 'drain 0']);
  });

  it('drains clients when the drain timeout expires even if readinessDelayMs is longer', async () => {
    registry.configure({ drain: { readinessDelayMs: 5_000, timeoutMs: 900 } }, 'a.ts:1');
    await obtain(shop);
    const { hooks, clock } = makeLifecycle({ httpServer: async () => ({ isListening: true, connections: 0 }) });
    const first = hooks.beforeApplicationShutdown();
    await clock.advanceAsync(900);
    await first;
    expect(made[0]?.methodCalls[0]).toBe('drain 0');
    expect(clock.pending).toBe(0);
    const [warning] = lines.filter((line) => line.startsWith('WARN'));
    expect(warning).toBe(
      'WARN [ResilientGrpc] drain.readinessDelayMs (5000) leaves no time for calls to finish, because drain.timeoutMs (900) includes it; ' +
        'write a larger drain.timeoutMs',
    );
  });

  it('drains clients only in the last shutdown hook, after the readiness delay and without a warning, if the drain timeout is 0', async () => {
    registry.configure({ drain: { timeoutMs: 0, readinessDelayMs: 5_000 } }, 'a.ts:1');
    await obtain(shop);
    lines = [];
    const { hooks, clock } = makeLifecycle();
    hooks.onModuleDestroy();
    expect(clock.pending).toBe(0);
    const first = hooks.beforeApplicationShutdown();
    await clock.advanceAsync(4_999);
    expect(made[0]?.methodCalls).toEqual([]);
    await clock.advanceAsync(1);
    await first;
    expect(clock.pending).toBe(0);
    await clock.advanceAsync(56_000);
    expect(made[0]?.methodCalls).toEqual(['end streams']);
    await hooks.onApplicationShutdown();
    expect(made[0]?.methodCalls).toEqual(['end streams', 'drain 0']);
    expect(lines).toEqual([
      'LOG [ResilientGrpc] shutdown started with 1 call to /shop.v1.Shop/Buy running; calls that do not end before Nest has closed its ' +
        'servers (drain.timeoutMs of ResilientGrpcModule is 0) are cut off; new calls are accepted for 5 s (readinessDelayMs)',
      expect.stringContaining('1 client drained 61 s after the shutdown started'),
    ]);
  });

  it('logs nothing and sets no timer at shutdown if there are no clients', async () => {
    const { hooks, clock } = makeLifecycle();
    await hooks.beforeApplicationShutdown();
    expect(clock.pending).toBe(0);
    await hooks.onApplicationShutdown();
    expect(lines).toEqual([]);
  });

  it.each([
    ['warns once that enableShutdownHooks() was not called', false, false, 1],
    ['does not warn about enableShutdownHooks() if there are listeners for signals', false, true, 0],
    ['does not warn about enableShutdownHooks() in tests', true, false, 0],
  ])('%s', async (_, testing, listens, warnings) => {
    await obtain(shop);
    lines = [];
    const { hooks, clock } = makeLifecycle({ testing, listens });
    hooks.onApplicationBootstrap();
    hooks.onApplicationBootstrap();
    clock.advance(10_000);
    expect(lines.filter((line) => line.includes('enableShutdownHooks() was not called'))).toHaveLength(warnings);
  });

  it('warns that enableShutdownHooks() was not called if the application has a server but no clients', () => {
    const { hooks, clock } = makeLifecycle({ testing: false, listens: false });
    hooks.endAfter({
      draining: false,
      cutOff: () => undefined,
      streamsNotified: () => Promise.resolve(),
      run: () => Promise.resolve(),
    });
    hooks.onApplicationBootstrap();
    clock.advance(1_000);
    expect(lines).toEqual([expect.stringContaining('enableShutdownHooks() was not called')]);
  });
});

describe('service config that arrives later', () => {
  const makeConfigSource = () => new Subject<object>();

  it('creates one client for identical definitions that wait for their service config, and rejects a different definition meanwhile', async () => {
    const serviceConfig = makeConfigSource();
    const both = [obtain({ ...shop, serviceConfig }), obtain({ ...shop, serviceConfig }, 'b.ts:2')];
    const differs = problemsOf(obtain({ ...shop, serviceConfig, timeoutMs: 5 }, 'c.ts:3'));
    expect((await differs)[0]).toContain('defined twice, at a.ts:1 and at c.ts:3');
    registry.hasStarted = true;
    serviceConfig.next({});
    const [first, second] = await Promise.all(both);
    expect(second).toBe(first);
    expect(made).toHaveLength(1);
    made[0]?.settings.live?.close();
  });

  it('creates no client, and unsubscribes from the service config, if the config arrives after startup has failed', async () => {
    const serviceConfig = makeConfigSource();
    const obtained = obtain({ ...shop, serviceConfig });
    const failed = expect(obtained).rejects.toThrow(/the application failed to start or is shutting down/);
    await problemsOf(obtain({ ...shop, name: 'other', timeoutMs: -1 }));
    serviceConfig.next({});
    await failed;
    expect(made).toEqual([]);
    expect(serviceConfig.observed).toBe(false);
  });

  it('closes a client that is created while startup collects the problems of other clients', async () => {
    const problems = problemsOf(obtain({ ...shop, name: 'other', timeoutMs: -1 }));
    await obtain(shop);
    await problems;
    expect(made[0]?.methodCalls).toEqual(['close']);
  });

  it('rejects a client created at run time whose name belongs to a client that waits for its first service config', async () => {
    const serviceConfig = makeConfigSource();
    const obtained = obtain({ ...shop, serviceConfig });
    expect(() => registry.create(shop)).toThrow('clients.shop: the client defined at a.ts:1 already has this name');
    serviceConfig.next({});
    const client = await obtained;
    expect(made).toEqual([client]);
    expect([...registry]).toEqual([client]);
    made[0]?.settings.live?.close();
  });

  it('rejects a client created at run time if its service config is already known and invalid, and unsubscribes', () => {
    const serviceConfig = new BehaviorSubject<object>({ methodConfig: 5 });
    expect(() => registry.create({ ...shop, serviceConfig })).toThrow('clients.shop.serviceConfig.methodConfig: ');
    expect(serviceConfig.observed).toBe(false);
    expect([...registry]).toEqual([]);
  });
});
