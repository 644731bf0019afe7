import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { waitFor } from '../../testing/wait-for.js';
import { CallFifo, type FifoEntry } from './overload-queue.js';

interface Numbered extends FifoEntry<Numbered> {
  readonly id: number;
}

const entry = (id: number): Numbered => ({ id, weight: 1, isRemoved: false, previous: undefined, next: undefined });

function queueOf(count: number) {
  const queue = new CallFifo<Numbered>();
  const entries = Array.from({ length: count }, (_, id) => entry(id));
  for (const pushed of entries) queue.push(pushed);
  return { queue, entries };
}

it('returns queued calls in FIFO order, and skips removed calls', () => {
  const { queue, entries } = queueOf(6);
  for (const id of [0, 3, 5]) queue.remove(entries[id]!);
  expect([...queue].map(({ id }) => id)).toEqual([1, 2, 4]);
  expect([queue.size, queue.weight, queue.peek()?.id]).toEqual([3, 3, 1]);
  queue.push(entry(6));
  expect(Array.from({ length: 5 }, () => queue.shift()?.id)).toEqual([1, 2, 4, 6, undefined]);
  expect([queue.size, queue.weight, entries.every(({ isRemoved }) => isRemoved)]).toEqual([0, 0, true]);
});

it('continues an iteration whose current call is removed, and recomputes the total weight', () => {
  const { queue } = queueOf(4);
  const seen: number[] = [];
  for (const current of queue) {
    seen.push(current.id);
    if (current.id % 2 === 0) queue.remove(current);
  }
  expect(seen).toEqual([0, 1, 2, 3]);
  queue.reweigh((waiting) => (waiting.weight = waiting.id));
  expect([queue.size, queue.weight]).toEqual([2, 4]);
});

it('keeps no reference to a removed call while an older call is queued', async () => {
  setFlagsFromString('--expose-gc');
  // The cast is safe: the flag above adds `gc` to each new context.
  const collect = runInNewContext('gc') as () => void;
  const queue = new CallFifo<Numbered>();
  queue.push(entry(0));
  const removed = Array.from({ length: 3 }, (_, index) => {
    const cancelled = entry(index + 1);
    queue.push(cancelled);
    queue.remove(cancelled);
    return new WeakRef(cancelled);
  });
  await waitFor(() => {
    collect();
    return removed.every((reference) => reference.deref() === undefined);
  });
  expect(queue.peek()?.id).toBe(0);
});
