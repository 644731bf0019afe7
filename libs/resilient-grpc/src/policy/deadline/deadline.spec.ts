import { describe, expect, it } from 'vitest';
import {
  deadlineFromTimeout,
  isNearDeadline,
  remainingMs,
  sendableDeadline,
  validateDeadline,
  formatGrpcTimeout,
  parseGrpcTimeout,
} from './deadline.js';

const NOW = Date.UTC(2030, 0, 1);

describe('validateDeadline', () => {
  it.each([
    ['a Date', new Date(NOW), NOW],
    ['milliseconds since 1970', NOW, NOW],
    ['a time in the past', new Date(Date.UTC(1999, 0, 1)), Date.UTC(1999, 0, 1)],
    ['Infinity (no deadline)', Infinity, Infinity],
    ['a time beyond the longest timer', NOW * 100, NOW * 100],
  ])('accepts %s as a deadline', (_, value, expected) => {
    expect(validateDeadline(value)).toBe(expected);
  });

  it('accepts a Date from another realm as a deadline', () => {
    const foreign = Object.create({ getTime: () => NOW }, { [Symbol.toStringTag]: { value: 'Date' } });
    expect(validateDeadline(foreign)).toBe(NOW);
  });

  it.each([
    ['a duration', 500, 'got 500, which is a duration or a time far in the past; write timeoutMs: 500'],
    ['a Date made from a duration', new Date(2_500), 'got 1970-01-01T00:00:02.500Z, which is a duration'],
    ['NaN', NaN, 'got NaN; write timeoutMs: 500, or a deadline that is a Date'],
    ['an invalid Date', new Date(NaN), 'got an invalid Date'],
    ['-Infinity', -Infinity, 'got -Infinity'],
    ['0', 0, 'got 0'],
    ['a string', '2030-01-01', 'got "2030-01-01"; write timeoutMs: 500, or a deadline that is a Date'],
    ['null', null, 'got null'],
    ['an object', { seconds: 1 }, 'got an object with seconds'],
    ['a bigint', 1n, 'got 1n'],
  ])('rejects %s as a deadline and reports the received value', (_, value, expected) => {
    const result = validateDeadline(value);
    expect(result).toHaveProperty('problem');
    expect((result as { problem: string }).problem).toContain('expected a Date or milliseconds since 1970, ');
    expect((result as { problem: string }).problem).toContain(expected);
  });
});

describe('deadline arithmetic', () => {
  it('computes a deadline by adding the timeout to the current time', () =>
    expect(deadlineFromTimeout(NOW, 300)).toBe(NOW + 300));
  it('returns Infinity as the deadline if no timeout is set', () =>
    expect(deadlineFromTimeout(NOW, undefined)).toBe(Infinity));
  it('returns the time that remains until a deadline', () => expect(remainingMs(NOW + 40, NOW)).toBe(40));
  it('returns a remaining time of 0 after the deadline', () => expect(remainingMs(NOW - 40, NOW)).toBe(0));
  it('returns an infinite remaining time if there is no deadline', () =>
    expect(remainingMs(Infinity, NOW)).toBe(Infinity));
});

describe('sendableDeadline', () => {
  it('keeps a deadline that grpc-timeout can express, and returns Infinity for other deadlines', () => {
    const yearMs = 365 * 86_400_000;
    expect(sendableDeadline(NOW, NOW)).toBe(NOW);
    expect(sendableDeadline(NOW - 1, NOW)).toBe(NOW - 1);
    expect(sendableDeadline(NOW + 11_000 * yearMs, NOW)).toBe(NOW + 11_000 * yearMs);
    expect(sendableDeadline(NOW + 12_000 * yearMs, NOW)).toBe(Infinity);
    expect(sendableDeadline(NOW * 1_000, NOW)).toBe(Infinity);
    expect(sendableDeadline(Infinity, NOW)).toBe(Infinity);
  });

  it('returns Infinity as the deadline for a timeout that grpc-timeout cannot express', () => {
    expect(deadlineFromTimeout(NOW, Number.MAX_SAFE_INTEGER)).toBe(Infinity);
  });
});

describe('suggestion for a rejected deadline', () => {
  it.each<[value: unknown, write: string]>([
    [250, 'write timeoutMs: 250'],
    [0, 'write timeoutMs: 500'],
    [-5, 'write timeoutMs: 500'],
    [-Infinity, 'write timeoutMs: 500'],
  ])('rejects the deadline %d with the suggestion: %s', (value, write) => {
    expect(validateDeadline(value)).toEqual({ problem: expect.stringContaining(write) });
  });

  it('accepts deadlines from March 1973 on, and rejects earlier ones', () => {
    expect(validateDeadline(1e11)).toBe(1e11);
    expect(validateDeadline(1e11 - 1)).toHaveProperty('problem');
  });
});

describe('farthest deadline', () => {
  it('returns Infinity for a deadline that is 99,999,998 hours or more after the current time', () => {
    const farthestMs = 99_999_998 * 3_600_000;
    expect(sendableDeadline(NOW + farthestMs - 1, NOW)).toBe(NOW + farthestMs - 1);
    expect(sendableDeadline(NOW + farthestMs, NOW)).toBe(Infinity);
    expect(deadlineFromTimeout(NOW, undefined)).toBe(Infinity);
  });
});

describe('isNearDeadline', () => {
  it.each([
    [100, 1_000, true],
    [101, 60_000, false],
    [60, 500, false],
    [50, 500, true],
    [-5, 0, true],
    [Infinity, 60_000, false],
  ])(
    'reports whether a deadline is near with %s ms remaining and %s ms elapsed: %s',
    (remainingMs, elapsedMs, isNear) => {
      expect(isNearDeadline(remainingMs, elapsedMs)).toBe(isNear);
    },
  );
});

describe('grpc-timeout', () => {
  it.each([
    ['2H', 7_200_000],
    ['3M', 180_000],
    ['1S', 1_000],
    ['500m', 500],
    ['1500u', 1.5],
    ['2000000n', 2],
    ['0m', 0],
    ['99999999H', 99_999_999 * 3_600_000],
    ['', undefined],
    ['500', undefined],
    ['500ms', undefined],
    ['-1S', undefined],
    ['1.5S', undefined],
    ['123456789m', undefined],
    [' 1S', undefined],
  ])('parses the grpc-timeout %o into milliseconds: %o', (text, ms) => {
    expect(parseGrpcTimeout(text)).toBe(ms);
  });

  it.each([
    [-5, '0m'],
    [0.2, '1m'],
    [1_500, '1500m'],
    [99_999_999, '99999999m'],
    [99_999_999.5, '100000S'],
    [100_000_000, '100000S'],
    [99_999_999_500, '1666667M'],
    [1e11, '1666667M'],
    [1e16, '99999999H'],
  ])('formats %d ms as the grpc-timeout %o', (ms, text) => {
    expect(formatGrpcTimeout(ms)).toBe(text);
  });
});
