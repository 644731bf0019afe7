import { describe, expect, it } from 'vitest';
import { CallFifo, type FifoEntry } from './call-fifo.js';

interface Numbered extends FifoEntry {
  readonly id: number;
}

const entry = (id: number): Numbered => ({ id, weight: 1, isRemoved: false });
/** Returns the length of the private array. Only this length reveals a leak of slots, because consumed slots hold no entry. */
const slotsOf = (queue: CallFifo<Numbered>): number => (Reflect.get(queue, 'entries') as unknown[]).length;

describe('queue with removal from the middle', () => {
  it.each([0, 1, 2_000])(
    'returns queued calls in FIFO order and frees the slots of consumed calls while others wait, after up to %i removals',
    (removals) => {
      const queue = new CallFifo<Numbered>();
      let next = 0;
      const waiting: Numbered[] = [];
      const push = (): void => {
        const pushed = entry(next++);
        waiting.push(pushed);
        queue.push(pushed);
      };
      const shift = (): void => expect(queue.shift()).toBe(waiting.shift());
      for (let i = 0; i < 3_000; i++) push();
      for (let i = 0; i < 1_023; i++) shift();
      for (const removed of waiting.splice(0, Math.min(removals, waiting.length - 1))) queue.remove(removed);
      for (let i = 0; i < 5_000; i++) {
        push();
        shift();
      }
      expect([queue.size, queue.weight]).toEqual([waiting.length, waiting.length]);
      expect(slotsOf(queue)).toBeLessThan(waiting.length + 1_024);
    },
  );
});
