import { expect, it } from 'vitest';
import { tooManyWaiting } from './refusal.js';

it.each([
  [0, 0, '0 calls with 0 request bytes are already waiting (maxWaitingCalls: 0)'],
  [1, 1, '1 call with 1 request byte is already waiting (maxWaitingCalls: 1)'],
  [2, 20, '2 calls with 20 request bytes are already waiting (maxWaitingCalls: 2)'],
])(
  'reports the number of waiting calls (%d) and of their request bytes (%d) in the refusal',
  (size, bytes, expected) => {
    const limits = { maxWaitingCalls: size, maxWaitingBytes: 100 };
    expect(tooManyWaiting('orders:50051', { size, bytes }, 10, limits)?.details).toBe(
      `orders:50051 is not ready, and ${expected}`,
    );
  },
);
