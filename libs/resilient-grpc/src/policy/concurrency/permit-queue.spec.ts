import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PermitQueue, type PermitWaiter } from './permit-queue.js';

function waiter(log: string[], name: string, deadline = Infinity): PermitWaiter {
  return { deadline, permitted: () => log.push(name) };
}

describe('permits', () => {
  it('are given while there are any, then waiters queue, then they are refused', () => {
    const queue = new PermitQueue({ maxConcurrent: 2, maxQueued: 1 });
    const asked = Array.from({ length: 4 }, () => queue.acquire(waiter([], '')));
    expect(asked).toEqual(['permitted', 'permitted', 'queued', 'refused']);
    expect([queue.running, queue.queued]).toEqual([2, 1]);
  });

  it('go to who waited longest', () => {
    const log: string[] = [];
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 3 });
    for (const name of ['a', 'b', 'c']) queue.acquire(waiter(log, name));
    queue.release();
    queue.release();
    expect(log).toEqual(['b', 'c']);
    expect([queue.running, queue.queued]).toEqual([1, 0]);
    queue.release();
    expect(queue.running).toBe(0);
  });

  it('go past who has left', () => {
    const log: string[] = [];
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 3 });
    const gone = waiter(log, 'gone');
    queue.acquire(waiter(log, 'first'));
    queue.acquire(gone);
    queue.acquire(waiter(log, 'last'));
    queue.leave(gone);
    queue.leave(gone);
    queue.release();
    expect(log).toEqual(['last']);
  });

  it('go past who has less time left than an answer takes', () => {
    const log: string[] = [];
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 9 });
    queue.acquire(waiter(log, 'first'));
    queue.acquire(waiter(log, 'late', 999));
    queue.acquire(waiter(log, 'short', 1_050));
    queue.acquire(waiter(log, 'long', 1_051));
    queue.release(1_000, 50);
    expect(log).toEqual(['long']);
    expect(queue.queued).toBe(0);
  });

  it('are free again when all who waited had no time left', () => {
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 9 });
    queue.acquire(waiter([], ''));
    queue.acquire(waiter([], '', 5));
    queue.release(10);
    expect([queue.running, queue.queued]).toEqual([0, 0]);
  });

  it('are not refused to who returns, whatever the length of the queue', () => {
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 0 });
    expect(queue.acquire(waiter([], ''))).toBe('permitted');
    expect(queue.acquire(waiter([], ''))).toBe('refused');
    expect(queue.acquire(waiter([], ''), true)).toBe('queued');
  });

  it('given back within the grant of another one are handed on without recursion', () => {
    const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 100_000 });
    let served = 0;
    queue.acquire(waiter([], 'first'));
    for (let i = 0; i < 100_000; i++) {
      queue.acquire({
        deadline: Infinity,
        permitted: () => {
          served++;
          queue.release();
        },
      });
    }
    queue.release();
    expect([served, queue.running, queue.queued]).toEqual([100_000, 0, 0]);
  });

  it('do not go to who asks while they are handed on to those who waited', () => {
    const log: string[] = [];
    const queue = new PermitQueue({ maxConcurrent: 2, maxQueued: 9 });
    queue.acquire(waiter(log, '1'));
    queue.acquire(waiter(log, '2'));
    queue.acquire({
      deadline: Infinity,
      permitted: () => {
        log.push('a');
        queue.release();
        log.push(queue.acquire(waiter(log, 'newcomer')));
      },
    });
    queue.acquire(waiter(log, 'b'));
    queue.release();
    expect(log).toEqual(['a', 'queued', 'b']);
    queue.release();
    expect(log.at(-1)).toBe('newcomer');
  });

  it('are never more than the limit, and none is lost, whatever the order of events', () => {
    const event = fc.constantFrom('ask', 'return', 'give', 'leave');
    fc.assert(
      fc.property(fc.array(event, { maxLength: 300 }), fc.integer({ min: 1, max: 4 }), (events, maxConcurrent) => {
        const queue = new PermitQueue({ maxConcurrent, maxQueued: 3 });
        const waiting: PermitWaiter[] = [];
        let held = 0;
        for (const what of events) {
          if (what === 'give') {
            if (held === 0) continue;
            held--;
            queue.release();
          } else if (what === 'leave') {
            const one = waiting.pop();
            if (one) queue.leave(one);
          } else {
            const one: PermitWaiter = {
              deadline: Infinity,
              permitted: () => {
                waiting.splice(waiting.indexOf(one), 1);
                held++;
              },
            };
            const answer = queue.acquire(one, what === 'return');
            if (answer === 'permitted') held++;
            if (answer === 'queued') waiting.push(one);
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
