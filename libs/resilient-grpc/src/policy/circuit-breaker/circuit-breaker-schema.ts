import * as v from 'valibot';
import { converted, integer, jsonObject, numberWhere, positive } from '../options/option-schemas.js';
import { statusCodes } from '../service-config/status-code-schema.js';
import { DEFAULT_CIRCUIT_BREAKER, type CircuitBreakerPolicy } from './circuit-breaker-policy.js';

// Names of the options in Polly, resilience4j, cockatiel, and opossum.
const REMEDIES = {
  threshold: 'write failureRatio, a ratio such as 0.5',
  failureRateThreshold: 'write failureRatio, a ratio such as 0.5',
  errorThresholdPercentage: 'write failureRatio, a ratio such as 0.5',
  volumeThreshold: 'write minimumThroughput',
  minimumNumberOfCalls: 'write minimumThroughput',
  samplingDuration: 'write samplingDurationMs',
  duration: 'write samplingDurationMs',
  rollingCountTimeout: 'write samplingDurationMs',
  breakDuration: 'write breakDurationMs',
  halfOpenAfter: 'write breakDurationMs',
  resetTimeout: 'write breakDurationMs',
  timeout: 'write attemptTimeoutMs in the method options',
};

const ratio = converted(
  'a ratio above 0 and at most 1',
  (value) => (typeof value === 'number' && value > 0 && value <= 1 ? value : undefined),
  // A number up to 100 is probably a percentage.
  (value) => (typeof value === 'number' && value > 1 && value <= 100 ? String(value / 100) : undefined),
);

const MIN_SAMPLING_MS = 100;
const sampling = numberWhere(
  `a number of milliseconds of ${String(MIN_SAMPLING_MS)} or more`,
  (value) => Number.isFinite(value) && value >= MIN_SAMPLING_MS,
);

/** Options of a circuit breaker, completed with the defaults. A key whose value is null has its default, too. */
export const circuitBreakerSchema = v.pipe(
  jsonObject(
    {
      failureRatio: v.optional(ratio, DEFAULT_CIRCUIT_BREAKER.failureRatio),
      minimumThroughput: v.optional(integer(1), DEFAULT_CIRCUIT_BREAKER.minimumThroughput),
      samplingDurationMs: v.optional(sampling, DEFAULT_CIRCUIT_BREAKER.samplingDurationMs),
      breakDurationMs: v.optional(positive, DEFAULT_CIRCUIT_BREAKER.breakDurationMs),
      statusCodes: v.optional(statusCodes(0)),
    },
    'an object such as { failureRatio: 0.5 }, or {} for the defaults',
    REMEDIES,
  ),
  v.transform((options): CircuitBreakerPolicy =>
    Object.freeze({
      ...options,
      statusCodes: options.statusCodes ?? DEFAULT_CIRCUIT_BREAKER.statusCodes,
      maxBreakDurationMs: Math.max(DEFAULT_CIRCUIT_BREAKER.maxBreakDurationMs, options.breakDurationMs),
      probeTimeoutMs: options.breakDurationMs,
    }),
  ),
);
