import { describe, expect, it } from 'vitest';
import { parseOptions } from '../options/option-problems.js';
import { DEFAULT_CIRCUIT_BREAKER } from './circuit-breaker.js';
import { circuitBreakerSchema } from './circuit-breaker-schema.js';

function parse(value: unknown) {
  const parsed = parseOptions(circuitBreakerSchema, value, 'circuitBreaker');
  return parsed.ok
    ? { policy: parsed.options, problems: [] }
    : { policy: undefined, problems: parsed.problems.map(({ path, message }) => `${path}: ${message}`) };
}

describe('circuitBreakerSchema', () => {
  it.each([{}, { failureRatio: undefined }])('returns the circuit breaker defaults for %o', (value) => {
    expect(parse(value)).toEqual({ policy: DEFAULT_CIRCUIT_BREAKER, problems: [] });
  });

  it('returns valid circuit breaker options in a frozen object', () => {
    const { policy, problems } = parse({
      failureRatio: 0.2,
      minimumThroughput: 5,
      samplingDurationMs: 2_000,
      breakDurationMs: 1_000,
      statusCodes: ['INTERNAL'],
    });
    expect(problems).toEqual([]);
    expect(policy).toEqual({
      failureRatio: 0.2,
      minimumThroughput: 5,
      samplingDurationMs: 2_000,
      breakDurationMs: 1_000,
      maxBreakDurationMs: 30_000,
      probeTimeoutMs: 1_000,
      statusCodes: new Set([13]),
    });
    expect(Object.isFrozen(policy)).toBe(true);
  });

  it.each([{ failureRatio: 1 }, { samplingDurationMs: 100 }])(
    'accepts a circuit breaker option at its limit: %o',
    (value) => {
      expect(parse(value)).toMatchObject({ policy: value, problems: [] });
    },
  );

  it('raises maxBreakDurationMs to a longer breakDurationMs', () => {
    expect(parse({ breakDurationMs: 60_000 }).policy).toMatchObject({ maxBreakDurationMs: 60_000 });
  });

  it('accepts an empty list of circuit breaker status codes', () => {
    expect(parse({ statusCodes: [] })).toMatchObject({ policy: { statusCodes: new Set() }, problems: [] });
  });

  it.each([
    [5, 'circuitBreaker: expected an object such as { failureRatio: 0.5 }, or {} for the defaults, got 5'],
    [{ failureRatio: 50 }, 'circuitBreaker.failureRatio: expected a ratio above 0 and at most 1, got 50'],
    [{ failureRatio: 0 }, 'circuitBreaker.failureRatio: expected a ratio above 0 and at most 1, got 0'],
    [{ failureRatio: NaN }, 'circuitBreaker.failureRatio: expected a ratio above 0 and at most 1, got NaN'],
    [{ failureRatio: 100 }, 'circuitBreaker.failureRatio: expected a ratio above 0 and at most 1, got 100'],
    [{ failureRatio: 101 }, 'circuitBreaker.failureRatio: expected a ratio above 0 and at most 1, got 101'],
    [{ failureRatio: '0.5' }, 'circuitBreaker.failureRatio: expected a ratio above 0 and at most 1, got "0.5"'],
    [{ failureRatio: '50' }, 'circuitBreaker.failureRatio: expected a ratio above 0 and at most 1, got "50"'],
    [{ minimumThroughput: 0 }, 'circuitBreaker.minimumThroughput: expected an integer of 1 or more, got 0'],
    [
      { samplingDurationMs: 10 },
      'circuitBreaker.samplingDurationMs: expected a number of milliseconds, 100 or more, got 10',
    ],
    [
      { samplingDurationMs: Infinity },
      'circuitBreaker.samplingDurationMs: expected a number of milliseconds, 100 or more, got Infinity',
    ],
    [{ breakDurationMs: '5' }, 'circuitBreaker.breakDurationMs: expected a number of milliseconds above 0, got "5"'],
    [{ halfOpenAfter: 5 }, 'circuitBreaker.halfOpenAfter: unknown option'],
    [
      { statusCodes: ['Unavailable', 'NOPE'] },
      'circuitBreaker.statusCodes: expected a list of status codes, such as ["UNAVAILABLE"], got "NOPE"',
    ],
  ])('rejects the circuit breaker options %o, and names the path and the problem', (value, problem) => {
    expect(parse(value).problems).toEqual([problem]);
  });

  it('reports all problems of circuit breaker options together', () => {
    expect(parse({ failureRatio: 2, minimumThroughput: 0.5, nope: 1 }).problems).toHaveLength(3);
  });
});
