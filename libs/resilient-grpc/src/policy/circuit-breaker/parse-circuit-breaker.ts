import { at, type Problems } from '../service-config/problem.js';
import { checkKeys, isPresent, readInteger, readObject, readPositive } from '../service-config/read.js';
import { readStatusCodes } from '../service-config/read-status-codes.js';
import { DEFAULT_CIRCUIT_BREAKER, type CircuitBreakerPolicy } from './circuit-breaker-policy.js';

const KEYS = ['failureRatio', 'minimumThroughput', 'samplingDurationMs', 'breakDurationMs', 'statusCodes'];

// Names of the options in Polly, resilience4j, cockatiel, and opossum.
const INSTEAD = {
  threshold: 'failureRatio, a ratio such as 0.5',
  failureRateThreshold: 'failureRatio, a ratio such as 0.5',
  errorThresholdPercentage: 'failureRatio, a ratio such as 0.5',
  volumeThreshold: 'minimumThroughput',
  minimumNumberOfCalls: 'minimumThroughput',
  samplingDuration: 'samplingDurationMs',
  duration: 'samplingDurationMs',
  rollingCountTimeout: 'samplingDurationMs',
  breakDuration: 'breakDurationMs',
  halfOpenAfter: 'breakDurationMs',
  resetTimeout: 'breakDurationMs',
  timeout: 'attemptTimeoutMs in the method options',
};

const MIN_SAMPLING_MS = 100;

/**
 * Parses the options of a circuit breaker and applies defaults; `undefined` means all defaults. If it adds to `problems`, the result
 * must not be used.
 */
export function parseCircuitBreaker(value: unknown, path: string, problems: Problems): CircuitBreakerPolicy {
  const standard = DEFAULT_CIRCUIT_BREAKER;
  if (value === undefined) return standard;
  const options = readObject(value, path, problems, 'an object such as { failureRatio: 0.5 }, or {} for the defaults');
  if (!options) return standard;
  checkKeys(options, path, problems, KEYS, INSTEAD);

  function option<T>(key: string, read: (found: unknown, where: string) => T | undefined, otherwise: T): T {
    return (isPresent(options?.[key]) ? read(options?.[key], at(path, key)) : undefined) ?? otherwise;
  }
  const breakDurationMs = option(
    'breakDurationMs',
    (found, where) => readPositive(found, where, problems),
    standard.breakDurationMs,
  );
  return Object.freeze({
    failureRatio: option('failureRatio', (found, where) => readRatio(found, where, problems), standard.failureRatio),
    minimumThroughput: option(
      'minimumThroughput',
      (found, where) => readInteger(found, where, problems, 1),
      standard.minimumThroughput,
    ),
    samplingDurationMs: option(
      'samplingDurationMs',
      (found, where) => readSampling(found, where, problems),
      standard.samplingDurationMs,
    ),
    breakDurationMs,
    maxBreakDurationMs: Math.max(standard.maxBreakDurationMs, breakDurationMs),
    probeTimeoutMs: breakDurationMs,
    statusCodes: option(
      'statusCodes',
      (found, where) => readStatusCodes(found, where, problems, 'empty-allowed'),
      standard.statusCodes,
    ),
  });
}

function readRatio(value: unknown, path: string, problems: Problems): number | undefined {
  if (typeof value === 'number' && value > 0 && value <= 1) return value;
  const isPercent = typeof value === 'number' && value > 1 && value <= 100;
  problems.add(path, 'a ratio above 0 and at most 1', value, isPercent ? String(value / 100) : undefined);
  return undefined;
}

function readSampling(value: unknown, path: string, problems: Problems): number | undefined {
  if (typeof value === 'number' && Number.isFinite(value) && value >= MIN_SAMPLING_MS) return value;
  problems.add(path, `a number of milliseconds of ${MIN_SAMPLING_MS} or more`, value);
  return undefined;
}
