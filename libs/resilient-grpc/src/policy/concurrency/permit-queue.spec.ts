import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PermitOutcome } from './adaptive-limit.js';
import { PermitQueue, type LimitChange, type PermitWaiter } from './permit-queue.js';

function makeWaiter(log: string[], name: string): PermitWaiter {
  return { permitted: () => log.push(name) };
}

describe('PermitQueue', () => {
  it('grants free permits, then queues waiters, then refuses further waiters', () => {
    const queue = new PermitQueue({ maxConcurrent: 2, maxQueued: 1 });
    const results = Array.from({ length: 4 }, () => queue.acquire(makeWaiter([], '')));
    expect(results).toEqual(['permitted', 'permitted', 'queued', 'refused']);
    expect([queue.running, queue.queued]).toEqual([2, 1]);
  });

  it('grants a released permit to the waiter that has waited longest', () => {
    const log: string[] = [];
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 3 });
    for (const name of ['a', 'b', 'c']) queue.acquire(makeWaiter(log, name));
    queue.release('succeeded', 5);
    queue.release('succeeded', 5);
    expect(log).toEqual(['b', 'c']);
    expect([queue.running, queue.queued]).toEqual([1, 0]);
    queue.release('succeeded', 5);
    expect(queue.running).toBe(0);
  });

  it('grants no permit to a cancelled waiter', () => {
    const log: string[] = [];
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 3 });
    const cancelled = makeWaiter(log, 'cancelled');
    queue.acquire(makeWaiter(log, 'first'));
    queue.acquire(cancelled);
    queue.acquire(makeWaiter(log, 'last'));
    queue.remove(cancelled);
    queue.remove(cancelled);
    queue.release('succeeded', 5);
    expect(log).toEqual(['last']);
  });

  it('queues a waiter that returned its permit, even if the permit queue is full', () => {
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 0 });
    expect(queue.acquire(makeWaiter([], ''))).toBe('permitted');
    expect(queue.acquire(makeWaiter([], ''))).toBe('refused');
    expect(queue.acquire(makeWaiter([], ''), true)).toBe('queued');
  });

  it('grants permits that are released during a grant, without recursion', () => {
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 100_000 });
    let served = 0;
    queue.acquire(makeWaiter([], 'first'));
    for (let i = 0; i < 100_000; i++) {
      queue.acquire({
        permitted: () => {
          served++;
          queue.release('succeeded', 5);
        },
      });
    }
    queue.release('succeeded', 5);
    expect([served, queue.running, queue.queued]).toEqual([100_000, 0, 0]);
  });

  it('queues a new waiter while a released permit is granted to an earlier waiter', () => {
    const log: string[] = [];
    const queue = new PermitQueue({ maxConcurrent: 2, maxQueued: 9 });
    queue.acquire(makeWaiter(log, '1'));
    queue.acquire(makeWaiter(log, '2'));
    queue.acquire({
      permitted: () => {
        log.push('a');
        queue.release('succeeded', 5);
        log.push(queue.acquire(makeWaiter(log, 'newcomer')));
      },
    });
    queue.acquire(makeWaiter(log, 'b'));
    queue.release('succeeded', 5);
    expect(log).toEqual(['a', 'queued', 'b']);
    queue.release('succeeded', 5);
    expect(log.at(-1)).toBe('newcomer');
  });

  describe('with an adaptive limit', () => {
    /** Releases `count` permits, and acquires all free permits before each release. */
    const serve = (queue: PermitQueue, count: number, latencyMs: number, outcome: PermitOutcome = 'succeeded') => {
      for (let i = 0; i < count; i++) {
        while (queue.acquire(makeWaiter([], '')) === 'permitted');
        queue.release(outcome, latencyMs);
      }
    };

    it('grants all permits that a growing adaptive limit adds', () => {
      const log: string[] = [];
      const queue = new PermitQueue({ maxConcurrent: 'adaptive', maxQueued: 100 });
      for (let i = 0; i < 20; i++) queue.acquire(makeWaiter(log, 'running'));
      for (let i = 0; i < 100; i++) queue.acquire(makeWaiter(log, 'queued'));
      for (let i = 0; i < 90; i++) queue.release('succeeded', 50);
      expect(queue.maxConcurrent).toBe(21);
      expect([queue.running, queue.queued]).toEqual([21, 9]);
    });

    it('keeps the number of running calls within a reduced adaptive limit', () => {
      const queue = new PermitQueue({ maxConcurrent: 'adaptive', maxQueued: 0 });
      serve(queue, 70, 50);
      serve(queue, 200, 500);
      expect(queue.maxConcurrent).toBeLessThan(12);
      expect(queue.running).toBeLessThanOrEqual(queue.maxConcurrent);
      while (queue.acquire(makeWaiter([], '')) === 'permitted');
      expect(queue.running).toBe(queue.maxConcurrent);
    });

    it.each<[PermitOutcome, number]>([
      ['failed', 20],
      ['not-sent', 20],
      ['cancelled', 20],
      ['timed-out', 18],
      ['refused', 18],
    ])(
      'applies the outcome %s of calls that end after 1 ms to an adaptive limit of 20 (new limit: %i)',
      (outcome, limit) => {
        const queue = new PermitQueue({ maxConcurrent: 'adaptive', maxQueued: 0 });
        serve(queue, 70, 50);
        serve(queue, 20, 1, outcome);
        expect(queue.maxConcurrent).toBe(limit);
      },
    );

    it('reports only changes of an adaptive limit by a factor of 2 or more', () => {
      const changes: LimitChange[] = [];
      const queue = new PermitQueue({ maxConcurrent: 'adaptive', maxQueued: 0 }, (change) => changes.push(change));
      serve(queue, 190, 50);
      expect([queue.maxConcurrent, changes]).toEqual([25, []]);
      serve(queue, 200, 500);
      expect(changes).toMatchObject([{ from: 20, to: 10, latencyMs: 500, overloaded: false }]);
    });

    it('reports that an adaptive limit has halved because calls timed out', () => {
      const changes: LimitChange[] = [];
      const queue = new PermitQueue({ maxConcurrent: 'adaptive', maxQueued: 0 }, (change) => changes.push(change));
      serve(queue, 70, 50);
      serve(queue, 200, 50, 'timed-out');
      expect(changes[0]).toEqual({ from: 20, to: 10, latencyMs: 50, unloadedLatencyMs: 50, overloaded: true });
    });
  });

  it('never exceeds the concurrency limit or loses a permit, whatever the order of events', () => {
    const event = fc.constantFrom('acquire', 'return', 'release', 'remove');
    fc.assert(
      fc.property(fc.array(event, { maxLength: 300 }), fc.integer({ min: 1, max: 4 }), (events, maxConcurrent) => {
        const queue = new PermitQueue({ maxConcurrent, maxQueued: 3 });
        const waiting: PermitWaiter[] = [];
        let held = 0;
        for (const step of events) {
          if (step === 'release') {
            if (held === 0) continue;
            held--;
            queue.release('succeeded', 5);
          } else if (step === 'remove') {
            const removed = waiting.pop();
            if (removed) queue.remove(removed);
          } else {
            const added: PermitWaiter = {
              permitted: () => {
                waiting.splice(waiting.indexOf(added), 1);
                held++;
              },
            };
            const result = queue.acquire(added, step === 'return');
            if (result === 'permitted') held++;
            if (result === 'queued') waiting.push(added);
          }
          expect(held).toBe(queue.running);
          expect(waiting.length).toBe(queue.queued);
          expect(held).toBeLessThanOrEqual(maxConcurrent);
          expect(held === maxConcurrent || waiting.length === 0).toBe(true);
        }
      }),
    );
  });
});
