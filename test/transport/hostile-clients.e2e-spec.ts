import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, type Observable } from 'rxjs';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { startClient } from '../calls/support.js';
import { quantile } from '../support/call-load.js';
import { recordTiming } from '../support/timing.js';

/** Memory that the server may hold for one connection, and what its process adds to it: its heap is collected late. */
const BOUND_BYTES = 1.5 * 256 * 1_048_576;
/** Heap that may remain: compiled code, and counters of what happened. */
const MAX_KEPT_BYTES = 8 * 1_048_576;
const LOADER = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));

const ORDERS_PROTO = fileURLToPath(new URL('../../protos/orders.proto', import.meta.url));

type OrdersService = Record<'create' | 'get', (request: object) => Observable<unknown>>;

interface Held {
  readonly heap: number;
  readonly resident: number;
  readonly peak: number;
  readonly sockets: number;
  readonly streams: number;
  readonly lingering: number;
  readonly created: number;
}

interface Heard {
  readonly latencies: readonly number[];
  readonly errors: readonly string[];
}

/** Attacks of `hostile/attacker.mjs`, with the limit that the log names; `undefined` if the server bears the attack. */
const ATTACKS: readonly (readonly [attack: string, limit: RegExp | undefined, ms?: number])[] = [
  ['rapid reset', undefined],
  ['resets that the server sends', /more than 50000 cancelled or refused calls/],
  ['CONTINUATION flood', /a header block of \d+ bytes in \d+ frames/],
  ['SETTINGS flood', /\(SETTINGS\)|sends more than it reads/],
  ['SETTINGS flood beside many streams', undefined],
  ['PING flood without reading', /sends more than it reads/],
  ['PING flood', undefined],
  ['empty DATA flood', /\(DATA\)/],
  ['empty messages', undefined],
  ['unknown frames', /\(type 99\)/],
  ['responses without window', undefined],
  ['tiny window updates', /\(small WINDOW_UPDATE\)|\(WINDOW_UPDATE\)/],
  ['responses that nobody reads', undefined],
  ['unfinished heads', /did not complete its frame \d+ within 10000 ms/, 30_000],
  ['half-open connections', /did not complete its preface and settings within 10000 ms/, 30_000],
  ['unfinished uploads', undefined],
  ['open streams', undefined],
  ['HPACK bomb', /a header list of \d+ bytes/],
  ['large header lists', undefined],
  ['window overflow', /WINDOW_UPDATE/],
  ['closed and skipped streams', /HEADERS on a (?:closed|skipped) stream/],
  ['garbage', /does not begin with the preface/],
  ['HTTP/1', /the client speaks HTTP\/1/],
  ['idle connections', /refused: more than 1000 connections/, 10_000],
];

let server: ChildServer;
/** Its connection is the only one that stays. */
let canary: ChildServer;
/** Latencies of the canary's calls between the attacks. All of them, because the p99 of a few seconds is chance. */
const usual: number[] = [];

const programOf = (name: string) => new URL(`./hostile/${name}.mjs`, import.meta.url);

/** Sends an IPC message and returns the answer. */
async function ask<T>(child: ChildServer): Promise<T> {
  const before = child.messages.length;
  child.send('report');
  // The cast is safe because the programs send nothing else.
  return (await waitFor(() => child.messages[before], { timeoutMs: 30_000 })) as T;
}

beforeAll(async () => {
  server = await ChildServer.start({
    script: programOf('attacked-server'),
    execArgv: ['--expose-gc'],
    args: (port) => ['--port', String(port), '--options', JSON.stringify({ connections: { max: 1_000 } })],
  });
  canary = await ChildServer.start({ script: programOf('canary'), args: () => ['--port', String(server.port)] });
});

afterAll(async () => {
  await canary.close();
  await server.close();
});

it.for(ATTACKS)(
  'serves other clients as before during an attack with %s, and holds nothing afterward',
  { tags: ['timed'] },
  async ([attack, limit, ms = 3_000], { task }) => {
    await ask<Heard>(canary);
    await pause(2_000);
    const alone = await ask<Heard>(canary);
    const before = await ask<Held>(server);
    const attacker = await ChildServer.start({
      script: programOf('attacker'),
      execArgv: ['--import', LOADER],
      args: () => ['--port', String(server.port), '--attack', attack, '--ms', String(ms)],
    });
    await ask<Heard>(canary);
    await waitFor(() => attacker.messages.length > 0, { timeoutMs: 60_000 });
    const beside = await ask<Heard>(canary);
    expect([...alone.errors, ...beside.errors]).toEqual([]);
    const { peak } = await ask<Held>(server);
    expect(peak - before.resident).toBeLessThan(BOUND_BYTES);
    let heap = 0;
    await waitFor(
      async () => {
        const { sockets, streams, lingering, ...after } = await ask<Held>(server);
        heap = after.heap;
        return sockets === 1 && streams === 0 && lingering === 0;
      },
      { timeoutMs: 30_000 },
    );
    expect(heap - before.heap).toBeLessThan(MAX_KEPT_BYTES);
    const names = (line: string) => limit?.test(line) === true && /127\.0\.0\.1:\d+/.test(line);
    if (limit !== undefined) expect(server.output.filter(names)).not.toEqual([]);
    usual.push(...alone.latencies);
    const ratio = quantile(beside.latencies, 0.99) / quantile(usual, 0.99);
    recordTiming(task, 'p99 of calls beside the attack, relative to that without', ratio, { atMost: 2 });
  },
);

interface Caller {
  /** Starts a call that takes a few seconds. Returns a function that cancels it. */
  readonly create: () => () => void;
  readonly get: () => Promise<unknown>;
}

const CALLERS: readonly (readonly [client: string, connect: (url: string) => Promise<Caller>])[] = [
  [
    'grpc-js',
    (url) => {
      const client = new Client(url, credentials.createInsecure());
      onTestFinished(() => {
        client.close();
      });
      const unary = (method: string, answered: (error: Error | null) => void) => {
        const asIs = (bytes: Buffer) => bytes;
        return client.makeUnaryRequest(`/orders.v1.Orders/${method}`, asIs, asIs, Buffer.alloc(0), answered);
      };
      const get = () =>
        new Promise<void>((resolve, reject) => {
          unary('Get', (error) => {
            if (error === null) resolve();
            else reject(error);
          });
        });
      const create = () => {
        const call = unary('Create', () => undefined);
        return () => {
          call.cancel();
        };
      };
      return Promise.resolve({ create, get });
    },
  ],
  [
    'this library',
    async (url) => {
      const client = await startClient({ url, protoPath: ORDERS_PROTO });
      const orders = client.getService<OrdersService>('Orders');
      const create = () => {
        const call = orders.create({}).subscribe({ error: () => undefined });
        return () => {
          call.unsubscribe();
        };
      };
      return { create, get: () => lastValueFrom(orders.get({})) };
    },
  ],
];

it.for(CALLERS)(
  'loses only the calls that a client of %s cancels, even if it cancels 10,000 at once',
  async ([, connect]) => {
    await waitFor(async () => (await ask<Held>(server)).sockets === 1);
    const before = await ask<Held>(server);
    const { create, get } = await connect(server.url);
    await get();
    const calls = Array.from({ length: 10_000 }, create);
    await waitFor(async () => (await ask<Held>(server)).created === before.created + 10_000, { timeoutMs: 30_000 });
    const early = Array.from({ length: 100 }, get);
    for (const cancel of calls) cancel();
    const late = Array.from({ length: 100 }, get);
    await Promise.all([...early, ...late]);
    const { sockets, lingering } = await ask<Held>(server);
    expect(sockets).toBe(2);
    expect(lingering).toBeGreaterThan(0);
    await waitFor(async () => (await ask<Held>(server)).lingering === 0, { timeoutMs: 30_000 });
    expect((await ask<Heard>(canary)).errors).toEqual([]);
  },
);
