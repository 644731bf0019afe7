import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, type Observable } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { startClient } from '../calls/support.js';
import { Attacked } from './hostile/attack-run.js';

const ORDERS_PROTO = fileURLToPath(new URL('../../protos/orders.proto', import.meta.url));

type OrdersService = Record<'create' | 'get', (request: object) => Observable<unknown>>;

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
    const attacked = await Attacked.start({ whose: 'ours' }, 'rapid reset');
    onTestFinished(() => attacked.close());
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
  },
);
