import { describe, expect, it } from 'vitest';
import { isRetry, stopsRetries } from './retry-chain.js';

describe('retry chain', () => {
  it.each([
    ['returns false for a first attempt', undefined, undefined, false],
    ['returns false for zero previous attempts', '0', undefined, false],
    ['returns true for a second attempt', '1', undefined, true],
    ['returns false for a malformed number of attempts', 'many', undefined, false],
    ['returns true for a call that serves a retry', undefined, '1', true],
    ['returns true for an empty retry-chain header', undefined, '', true],
    ['returns false for a hedged attempt', '2', 'hedge', false],
  ])('isRetry() %s', (_, previousAttempts, mark, retry) => {
    expect(isRetry(previousAttempts, mark)).toBe(retry);
  });

  it.each([
    ['returns true for a retried unary call of any age', false, true, 60_000, true],
    ['returns true for a retried stream in its first 10 s', true, true, 9_999, true],
    ['returns false for a retried stream after 10 s', true, true, 10_000, false],
    ['returns false for a call that is not a retry', false, false, 0, false],
  ])('stopsRetries() %s', (_, streaming, retry, age, stops) => {
    expect(stopsRetries({ retry, streaming, startedAt: 500 }, 500 + age)).toBe(stops);
  });
});
