import { describe, expect, it } from 'vitest';
import { isRetry, stopsRetries } from './retry-chain.js';

describe('an inbound call', () => {
  it.each([
    ['the first attempt', undefined, undefined, false],
    ['no attempt before', '0', undefined, false],
    ['a second attempt', '1', undefined, true],
    ['a number that is none', 'many', undefined, false],
    ['a call made for a retry', undefined, '1', true],
    ['a mark without a value', undefined, '', true],
    ['a hedge', '2', 'hedge', false],
  ])('is a retry or not: %s', (_, previousAttempts, mark, retry) => {
    expect(isRetry(previousAttempts, mark)).toBe(retry);
  });

  it.each([
    ['a unary call, however long', false, true, 60_000, true],
    ['a stream, at its beginning', true, true, 9_999, true],
    ['a stream, later', true, true, 10_000, false],
    ['one that is no retry', false, false, 0, false],
  ])('stops the retries of what it calls: %s', (_, streaming, retry, age, stops) => {
    expect(stopsRetries({ retry, streaming, startedAt: 500 }, 500 + age)).toBe(stops);
  });
});
