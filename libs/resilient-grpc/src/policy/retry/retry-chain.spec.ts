import { describe, expect, it } from 'vitest';
import { isRetry, stopsRetries } from './retry-chain.js';

describe('retry chain', () => {
  it.each([
    ['does not treat a first attempt as a retry', undefined, undefined, false],
    ['does not treat an attempt with zero previous attempts as a retry', '0', undefined, false],
    ['treats a second attempt as a retry', '1', undefined, true],
    ['does not treat an attempt with a malformed number of previous attempts as a retry', 'many', undefined, false],
    ['treats a call with the x-retry-chain value 1 as a retry', undefined, '1', true],
    ['treats a call with an empty x-retry-chain value as a retry', undefined, '', true],
    ['does not treat a hedged attempt as a retry', '2', 'hedge', false],
  ])('%s', (_, previousAttempts, mark, retry) => {
    expect(isRetry(previousAttempts, mark)).toBe(retry);
  });

  it.each([
    ['stops the retries of calls that serve a retried unary call of any age', false, true, 60_000, true],
    ['stops the retries of calls that serve a retried stream in its first 10 s', true, true, 9_999, true],
    ['allows the retries of calls that serve a retried stream after 10 s', true, true, 10_000, false],
    ['allows the retries of calls that serve an inbound call that is not a retry', false, false, 0, false],
  ])('%s', (_, streaming, retry, age, stops) => {
    expect(stopsRetries({ retry, streaming, startedAt: 500 }, 500 + age)).toBe(stops);
  });
});
