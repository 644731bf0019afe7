import { expect, it } from 'vitest';
import { outageRefusal, tooManyWaiting } from './refusal.js';

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
