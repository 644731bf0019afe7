import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Waiter } from '../../call/call-transport.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { WaitingCalls, outageRefusal, tooManyWaiting } from './waiting-calls.js';

function waiter(bytes = 0, change: Partial<Waiter> = {}): Waiter {
  return {
    waitForReady: undefined,
    waitingSince: 0,
    deadline: Infinity,
    bytes,
    rateLimited: false,
    expectsPromptResponse: true,
    path: '/orders.v1.Orders/Get',
    release: () => undefined,
    refuse: () => undefined,
    ...change,
  };
}

describe('WaitingCalls', () => {
  it('excludes the waiters of waitForReady() from the number of waiting calls and from the age of the oldest call', () => {
    const queue = new WaitingCalls(new VirtualClock());
    const ready = waiter(0, { path: undefined });
    queue.push(ready);
    expect({ calls: queue.calls, size: queue.size, oldestMs: queue.oldestMs(50) }).toEqual({
      calls: 0,
      size: 1,
      oldestMs: 0,
    });
    const call = waiter(0, { waitingSince: 20 });
    queue.push(call);
    expect({ calls: queue.calls, size: queue.size, oldestMs: queue.oldestMs(50) }).toEqual({
      calls: 1,
      size: 2,
      oldestMs: 30,
    });
    queue.remove(ready);
    queue.remove(call);
    expect(queue.calls).toBe(0);
  });

  it('contains the same waiting calls as a plain list after a random sequence of operations', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), bytes: fc.nat(100) }),
      fc.record({ kind: fc.constant('remove' as const), at: fc.nat(1_000) }),
      fc.record({ kind: fc.constant('take' as const), odd: fc.boolean(), limit: fc.nat(20) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const calls = new WaitingCalls(new VirtualClock());
        const plain: Waiter[] = [];
        for (const one of steps) {
          if (one.kind === 'push') {
            const next = waiter(one.bytes);
            calls.push(next);
            plain.push(next);
          } else if (one.kind === 'remove') {
            const [removed] = plain.splice(one.at % Math.max(plain.length, 1), 1);
            if (removed !== undefined) expect([1, 2].map(() => calls.remove(removed))).toEqual([true, false]);
          } else {
            const isWanted = (other: Waiter) => (other.bytes % 2 === 1) === one.odd;
            const wanted = plain.filter(isWanted).slice(0, one.limit);
            expect(calls.takeWhere(isWanted, one.limit)).toEqual(wanted);
            for (const removed of wanted) plain.splice(plain.indexOf(removed), 1);
          }
          expect([...calls]).toEqual(plain);
          expect(calls.bytes).toBe(plain.reduce((sum, { bytes }) => sum + bytes, 0));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('lists the waiting calls that are not rate-limited', () => {
    const calls = new WaitingCalls(new VirtualClock());
    const [limited, a, b] = [waiter(0, { rateLimited: true }), waiter(), waiter()];
    for (const one of [a, limited, b]) calls.push(one);
    expect([...calls.unlimited]).toEqual([a, b]);
    calls.remove(a);
    calls.remove(limited);
    expect([...calls.unlimited]).toEqual([b]);
    expect(calls.takeWhere(() => true, 1)).toEqual([b]);
    expect(calls.unlimited.size).toBe(0);
  });
});

it.each([
  [0, 0, '0 calls with 0 request bytes are already waiting (maxWaitingCalls: 0)'],
  [1, 1, '1 call with 1 request byte is already waiting (maxWaitingCalls: 1)'],
  [2, 20, '2 calls with 20 request bytes are already waiting (maxWaitingCalls: 2)'],
])(
  'reports the number of waiting calls (%d) and of their request bytes (%d) in the refusal of a call',
  (calls, bytes, expected) => {
    const limits = { maxWaitingCalls: calls, maxWaitingBytes: 100 };
    expect(tooManyWaiting(() => 'orders:50051 is CONNECTING', { calls, bytes }, 10, limits)?.details).toBe(
      `orders:50051 is CONNECTING; ${expected}`,
    );
  },
);

const OUTAGE = {
  target: 'orders:50051',
  unreachableMs: 7_300,
  cause: 'refused',
  connectAttempts: 1,
  flapping: false,
  remedy: undefined,
};

it.each([
  [undefined, 'connecting now', 0],
  [0, 'connecting now', 0],
  [49, 'connecting now', 49],
  [51, 'next in 0.1 s', 51],
  [2_100, 'next in 2.1 s', 2_100],
])('describes nextTryInMs %s as %j in the refusal of a call', (nextTryInMs, expected, retryAfterMs) => {
  expect(outageRefusal({ ...OUTAGE, nextTryInMs })).toMatchObject({
    details: `orders:50051 has been unreachable for 7.3 s (1 connection attempt, ${expected}): refused`,
    retryAfterMs,
  });
});

it('explains in an outage refusal that calls wait less because this is at least the third outage within a minute', () => {
  expect(outageRefusal({ ...OUTAGE, flapping: true, nextTryInMs: 700 }).details).toBe(
    'orders:50051 has been unreachable for 7.3 s (1 connection attempt, next in 0.7 s; at least the third outage within a minute, so calls wait less): refused',
  );
});
