import { Metadata, credentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import fc from 'fast-check';
import {
  GrpcClients,
  GrpcConfigurationError,
  ResilientGrpcModule,
  type GrpcClientOptions,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { NEVER, Observable, firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordTiming } from '../support/timing.js';
import type { OrdersClient } from './orders-client.js';
import { ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
const packageDefinition = loadSync(ORDERS_PROTO);
const unhandled: unknown[] = [];
const note = (error: unknown) => unhandled.push(error);
let server: ScriptedGrpcServer;
let app: INestApplicationContext;
let clients: GrpcClients;

beforeAll(async () => {
  process.on('unhandledRejection', note);
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  server.script<{ id: string }>('orders.v1.Orders/Get', ({ request }) => ({
    message: { id: request.id, item: 'tea' },
  }));
  app = await NestFactory.createApplicationContext(
    { module: class AppModule {}, imports: [ResilientGrpcModule.forRoot()] },
    { logger: false, abortOnError: false },
  );
  clients = app.get(GrpcClients);
});
afterAll(async () => {
  await app.close();
  await server.close();
  process.off('unhandledRejection', note);
  await leaks.settled();
});

const throwing = (): never => {
  throw new Error('access denied');
};
/** Imitates metadata created by another copy of grpc-js. */
const foreignMetadata = () => ({
  getMap: () => ({ 'x-tenant': 'shop' }),
  get: () => ['shop'],
  getOptions: () => ({}),
  internalRepr: new Map([['x-tenant', ['shop']]]),
});

/** Values that most options reject. */
const HOSTILE: readonly (() => unknown)[] = [
  () =>
    new Proxy(
      {},
      {
        ownKeys: () => ['a', 'b'],
        getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true, value: 1 }),
      },
    ),
  () => ({ toString: throwing, toJSON: throwing, valueOf: throwing }),
  () => JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}') as unknown,
  () => new Array(100_000).fill('x'),
  () => new Array(100_000).fill({ a: 1 }),
  () => Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`Gett${String(index)}`, {}])),
  () => 'x'.repeat(2 ** 20 + 1),
  () => ({ ['x'.repeat(100_000)]: 1 }),
  () => foreignMetadata(),
  () => new Metadata(),
  () => credentials.createInsecure(),
  () => NEVER,
  () => new Observable((subscriber) => subscriber.error(new Error('broken'))),
  () => Promise.resolve({}),
  () => Buffer.alloc(10),
  () => Symbol('x'),
  () => 1n,
  () => throwing,
  () => class {},
  () => null,
];

const NUMBERS = [-1, 0, 1, 0.5, 1_000, 5_000, 65_535, 2 ** 31, 1e300, -1e300, NaN, Infinity, -Infinity];
const STRINGS = [
  '',
  ' ',
  'warm',
  'on-demand',
  'pick_first',
  'round_robin',
  '5s',
  '__proto__',
  'a\nb',
  '\u0000',
  'ä',
  'Get',
  '*',
  '/dev/null',
];
const URLS = [
  'dns://bad:port:x/y',
  'dns://127.0.0.1:53:1/y',
  'dns:',
  'dns:///',
  '[::1',
  ':',
  '::',
  '127.0.0.1:99999',
  'unix:',
  'unix:///nowhere.sock',
  'ipv4:127.0.0.1:1,127.0.0.1:2',
  'ipv4:x',
  'ipv6:[::1]:1',
  'xds:///x',
  'http://me:secret@127.0.0.1:1',
  'me:secret@127.0.0.1:1',
  '\u0000',
  '%',
];
const CHANNEL_OPTIONS = [
  'grpc.ssl_target_name_override',
  'grpc.primary_user_agent',
  'grpc.secondary_user_agent',
  'grpc.default_authority',
  'grpc.keepalive_time_ms',
  'grpc.keepalive_timeout_ms',
  'grpc.keepalive_permit_without_calls',
  'grpc.service_config',
  'grpc.initial_reconnect_backoff_ms',
  'grpc.max_reconnect_backoff_ms',
  'grpc.max_send_message_length',
  'grpc.max_receive_message_length',
  'grpc.default_compression_algorithm',
  'grpc.enable_channelz',
  'grpc.dns_min_time_between_resolutions_ms',
  'grpc.per_rpc_retry_buffer_size',
  'grpc.retry_buffer_size',
  'grpc.client_idle_timeout_ms',
  'grpc-node.max_session_memory',
  'grpc-node.flow_control_window',
  'grpc.enable_http_proxy',
  'interceptors',
  'mine',
];
const KEYS = [
  'name',
  'package',
  'packageDefinition',
  'protoPath',
  'loader',
  'url',
  'methods',
  'serviceConfig',
  'timeoutMs',
  'streamIdleTimeoutMs',
  'rejectInvalidMessages',
  'outageGraceMs',
  'maxWaitingCalls',
  'maxConcurrentCalls',
  'trustRefusedStreams',
  'connections',
  'loadBalancing',
  'credentials',
  'tls',
  'keepalive',
  'maxSendMessageLength',
  'maxReceiveMessageLength',
  'channelOptions',
  'metadata',
  'interceptors',
  'propagate',
  '__proto__',
  'constructor',
  'toString',
  'options',
  'transport',
  'retries',
];
/** Keys of objects that are nested in options. */
const INNER = [
  'ca',
  'cert',
  'key',
  'serverName',
  'reload',
  'keepaliveTimeMs',
  'keepaliveTimeoutMs',
  'Get',
  '*',
  'idempotent',
  'circuitBreaker',
  'statusCodes',
  'methodConfig',
  'retryPolicy',
  'maxAttempts',
  'retryThrottling',
  'loadBalancingConfig',
  'deadline',
  'metadata',
  'onCall',
  '__proto__',
  'x-tenant',
];

/** Placeholder for a value that fast-check cannot clone or print. */
class Hostile {
  constructor(readonly index: number) {}
}

function materialize(drawn: unknown): unknown {
  if (drawn instanceof Hostile) return HOSTILE[drawn.index]?.();
  if (Array.isArray(drawn)) return drawn.map(materialize);
  if (typeof drawn !== 'object' || drawn === null) return drawn;
  return Object.fromEntries(Object.entries(drawn).map(([key, one]) => [key, materialize(one)]));
}

const leaf = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NUMBERS) },
  { weight: 3, arbitrary: fc.constantFrom(...STRINGS) },
  { weight: 2, arbitrary: fc.boolean() },
  { weight: 2, arbitrary: fc.nat({ max: HOSTILE.length - 1 }).map((index) => new Hostile(index)) },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }) },
);
const value = fc.oneof(
  { weight: 3, arbitrary: leaf },
  { weight: 1, arbitrary: fc.array(leaf, { maxLength: 3 }) },
  {
    weight: 2,
    arbitrary: fc.dictionary(
      fc.constantFrom(...INNER),
      fc.oneof(leaf, fc.dictionary(fc.constantFrom(...INNER), leaf, { maxKeys: 2 })),
      { maxKeys: 3 },
    ),
  },
);
const wrong = fc.oneof(
  fc.tuple(fc.constantFrom(...KEYS), value),
  fc.tuple(fc.constant('url'), fc.constantFrom(...URLS)),
  fc.tuple(
    fc.constant('channelOptions'),
    fc.dictionary(fc.constantFrom(...CHANNEL_OPTIONS), leaf, { minKeys: 1, maxKeys: 2 }),
  ),
);
/** Valid options with up to two properties replaced or added, or an arbitrary value. */
const anyOptions = fc.oneof(
  { weight: 20, arbitrary: fc.tuple(fc.constant('keys' as const), fc.array(wrong, { maxLength: 2 })) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('value' as const), value) },
);

function optionsOf([kind, drawn]: readonly [string, unknown]): unknown {
  if (kind === 'value') return materialize(drawn);
  const base = { name: 'any', packageDefinition, url: server.url };
  for (const [key, replacement] of drawn as readonly [string, unknown][]) {
    const value = materialize(replacement);
    Object.defineProperty(base, key, { enumerable: true, configurable: true, writable: true, value });
  }
  return base;
}

/** Returns the client created from `options`, or the `GrpcConfigurationError`. Rethrows any other error. */
function created(options: unknown): ResilientGrpcClient | GrpcConfigurationError {
  try {
    // JavaScript users can pass anything.
    return clients.create(options as GrpcClientOptions);
  } catch (error) {
    if (error instanceof GrpcConfigurationError) return error;
    throw error;
  }
}

const prototypes = () => [Object, Array, Function, String].map((type) => Reflect.ownKeys(type.prototype).length).join();

describe('arbitrary client options', () => {
  it(
    'creates a client or throws a GrpcConfigurationError for arbitrary options, and pollutes no prototype',
    { tags: ['timed'], timeout: 120_000 },
    async ({ task }) => {
      const before = prototypes();
      let working = 0;
      let refused = 0;
      let longestMs = 0;
      await fc.assert(
        fc.asyncProperty(anyOptions, async (drawn) => {
          const options = optionsOf(drawn);
          const from = performance.now();
          const result = created(options);
          longestMs = Math.max(longestMs, performance.now() - from);
          if (result instanceof GrpcConfigurationError) {
            refused++;
            expect(result.problems.length).toBeGreaterThan(0);
            expect(result.message.length).toBeLessThan(20_000);
            return;
          }
          working++;
          expect(JSON.parse(JSON.stringify(result.snapshot()))).toHaveProperty('connectivity');
          if (working % 10 === 0 && result.target === server.url) {
            const orders = result.getService<OrdersClient>('orders.v1.Orders');
            // The options may cause the call to fail, for example because of a size limit or a deadline, but only with a status.
            await firstValueFrom(orders.get({ id: '1' })).catch((error: unknown) =>
              expect(error).toHaveProperty('code'),
            );
          }
          await result.close();
        }),
        { numRuns: 5_000, seed: 20_260_301 },
      );
      expect(unhandled).toEqual([]);
      expect(prototypes()).toBe(before);
      expect(Math.min(working, refused)).toBeGreaterThan(500);
      recordTiming(task, 'longest time to create a client, ms', longestMs, { atMost: 1_000 });
    },
  );
});
