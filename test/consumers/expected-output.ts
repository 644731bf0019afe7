import { expect } from 'vitest';
import type { Nest } from './installed-application.js';

const ORDER = { id: '7', requestId: '', item: 'tea', quantity: 1, sequence: '1' };
const GATEWAY = {
  order: { status: 200, body: { ...ORDER, requestId: 'r-7' } },
  none: { status: 404, body: expect.objectContaining({ message: 'no such order', code: 'NOT_FOUND' }) },
  events: ['data: 9007199254740994', 'data: 9007199254740995'],
  health: { orders: expect.objectContaining({ status: 'up', state: 'READY' }) },
  dashboard: [200, 200, 200],
};
const ITEM = { itemId: '7', itemKind: 1, stockLeft: 7, listedAt: { seconds: 1_700_000_000, nanos: 0 } };
const CONNECTED_AGAIN = { connections: [{ state: 'READY', ended: 1 }], outages: 1 };
/** The expected output of each application. */
export const APPLICATIONS = {
  standalone: {
    order: ORDER,
    none: true,
    sequences: ['9007199254740992', '9007199254740993', '9007199254740994', '9007199254740995'],
  },
  'by-hand': {
    unary: { ...ORDER, requestId: 'r-7', sequence: '0' },
    created: { id: '9', requestId: 'r-9', item: 'coffee' },
    replies: [
      { messageId: '1', sequence: '1' },
      { messageId: '2', sequence: '2' },
    ],
    uploaded: { count: 3, lastSequence: '3' },
  },
  express: GATEWAY,
  fastify: GATEWAY,
  hybrid: {
    http: { ...ORDER, sequence: '0' },
    grpc: { order: ORDER, sequences: ['9007199254740994', '9007199254740995'] },
  },
  'internal-library': {
    copies: true,
    before: ['7', '8'],
    during: ['7', '8'],
    seen: [CONNECTED_AGAIN, CONNECTED_AGAIN],
    sequences: ['1', '2'],
    notFound: true,
    http: 404,
  },
  'ts-proto': {
    plain: { ...ITEM, isDrink: true, listed: 2, itemsAdded: 2 },
    metadata: ['7', '8', '9'],
    observables: ['1', '2'],
    snake: { item_id: '7', item_kind: 1, stock_left: 7, listed_at: ITEM.listedAt },
    strings: { stockLeft: '7', isDrink: true },
    longs: '8',
    dates: { listedAt: '2023-11-14T22:13:20.000Z', itemsAdded: 2 },
  },
} as const;

export type Name = keyof typeof APPLICATIONS;

/** Applications that also run on the less common combinations of Nest version and module system: 12 with CommonJS, 11 with ESM. */
const ANYWHERE: readonly Name[] = ['standalone', 'fastify', 'internal-library'];

/**
 * Returns the names of the applications to run: all for Nest 11 with CommonJS, all except 'ts-proto' for Nest 12 with ESM, and `ANYWHERE`
 * for the other combinations.
 */
export function namesFor(nest: Nest, build: 'esm' | 'cjs'): readonly Name[] {
  if ((nest === 12) !== (build === 'esm')) return ANYWHERE;
  // The cast is safe because the object literal above has no other keys.
  const all = Object.keys(APPLICATIONS) as Name[];
  return nest === 11 ? all : all.filter((name) => name !== 'ts-proto');
}
