import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, type Observable } from 'rxjs';
import { afterAll, expect, it, onTestFailed, onTestFinished } from 'vitest';
import { startClient } from '../../calls/support.js';
import { seededRandom } from '../../unit-support/seeded-random.mjs';
import { Attacked, ATTACKS, KEPT_BYTES, planOf } from './attack-run.js';
import { SERVER_ATTACKS } from './attacks.js';

/** Determines the order of the attacks, and where the reads of the server end. */
const SEED = Number(process.env['ATTACK_SEED'] ?? 1);

const ORDERS_PROTO = fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url));

type OrdersService = Record<'create' | 'get', (request: object) => Observable<unknown>>;

/** Processes that have borne their last attack, by what the attacks need of them. */
const IDLE = new Map<string, Attacked>();

/** Runs `work` with processes for the attack. They go on if it succeeds. */
async function withAttacked(attack: string, work: (attacked: Attacked) => Promise<void>): Promise<void> {
  const { options, streams, renegotiates } = planOf(attack);
  const key = JSON.stringify([attack in SERVER_ATTACKS, options, streams, renegotiates]);
  const attacked = IDLE.get(key) ?? (await Attacked.start({ whose: 'ours' }, attack));
  IDLE.delete(key);
  onTestFailed(() => attacked.close());
  await work(attacked);
  IDLE.set(key, attacked);
}

afterAll(async () => {
  for (const attacked of IDLE.values()) await attacked.close();
});

const random = seededRandom(SEED);
const names = ATTACKS.map((name) => [name, random()] as const)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name);

it.for(names)(`serves other clients during an attack and holds nothing afterward: %s, seed ${String(SEED)}`, (attack) =>
  withAttacked(attack, async (attacked) => {
    const { ms, limit, streams = 0 } = planOf(attack);
    const figures = await attacked.run(attack, { ms: 500, scale: 0.1, seed: SEED }, 0);
    const none = { 'failed calls': 0, 'lost streams': 0, 'lost writes': 0, 'sockets kept': 0 };
    expect(figures).toMatchObject({ ending: undefined, ...none, 'streams after': streams });
    expect(figures['answered calls']).toBeGreaterThan(0);
    expect(figures['heap kept, MB']).toBeLessThanOrEqual(KEPT_BYTES / 1_048_576);
    // Limits that take longer are met by `npm run promises -- attacks`.
    if (ms === undefined && limit !== undefined) expect(figures['limit']).toBeDefined();
  }),
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

it.for(CALLERS)('loses only the calls that a client of %s cancels, even if it cancels 10,000 at once', ([, connect]) =>
  withAttacked('rapid reset', async (attacked) => {
    const before = await attacked.report();
    const { create, get } = await connect(attacked.url);
    await get();
    const calls = Array.from({ length: 10_000 }, create);
    const created = async () => ((await attacked.report())?.created ?? 0) - (before?.created ?? 0);
    await waitFor(async () => (await created()) === 10_000, { timeoutMs: 30_000 });
    const early = Array.from({ length: 100 }, get);
    for (const cancel of calls) cancel();
    const late = Array.from({ length: 100 }, get);
    await Promise.all([...early, ...late]);
    const held = await attacked.report();
    expect(held?.sockets).toBe(2);
    expect(held?.lingering).toBeGreaterThan(0);
    await waitFor(async () => (await attacked.report())?.lingering === 0, { timeoutMs: 30_000 });
  }),
);
