import { parseStatusCode, suggestStatusCode, type StatusCode } from '../../status/status-code.js';
import { problemMessage } from '../options/describe-value.js';
import {
  integerRule,
  numberProblem,
  unknownKeyMessage,
  type NestedProblem,
  type NumberRule,
} from '../options/value-rules.js';
import {
  DEFAULT_CIRCUIT_BREAKER,
  type CircuitBreakerOptions,
  type CircuitBreakerPolicy,
} from './circuit-breaker-policy.js';

// Remedies for option names from Polly, resilience4j, cockatiel, and opossum.
const KEY_REMEDIES = {
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
  timeout: 'write attemptTimeoutMs in the method options, or use the deadline operator',
};

const MIN_SAMPLING_MS = 100;
const SAMPLING_RULE: NumberRule = {
  expected: `a number of milliseconds, ${String(MIN_SAMPLING_MS)} or more`,
  isValid: (value) => Number.isFinite(value) && value >= MIN_SAMPLING_MS,
};

const BREAK_RULE: NumberRule = {
  expected: 'a number of milliseconds above 0',
  isValid: (value) => Number.isFinite(value) && value > 0,
};

/** Checks of the options. Each returns the problems of one value. */
const CHECKS: Readonly<Record<keyof CircuitBreakerOptions, (value: unknown) => readonly NestedProblem[]>> = {
  failureRatio: (value) => problemOf('failureRatio', ratioProblem(value)),
  minimumThroughput: (value) => problemOf('minimumThroughput', numberProblem(value, integerRule(1))),
  samplingDurationMs: (value) => problemOf('samplingDurationMs', numberProblem(value, SAMPLING_RULE)),
  breakDurationMs: (value) => problemOf('breakDurationMs', numberProblem(value, BREAK_RULE)),
  statusCodes: statusCodeProblems,
};

/** Returns all problems of `options`. A null value means the default. */
export function circuitBreakerProblems(options: object): readonly NestedProblem[] {
  const known = Object.keys(CHECKS);
  return Object.entries(options).flatMap(([key, value]: [string, unknown]) => {
    if (value === undefined || value === null) return [];
    if (!isOption(key)) return problemOf(key, unknownKeyMessage(key, known, KEY_REMEDIES));
    return CHECKS[key](value);
  });
}

function isOption(key: string): key is keyof CircuitBreakerOptions {
  return Object.hasOwn(CHECKS, key);
}

function problemOf(key: string, message: string | undefined): readonly NestedProblem[] {
  return message === undefined ? [] : [{ keys: [key], message }];
}

function ratioProblem(value: unknown): string | undefined {
  if (typeof value === 'number' && value > 0 && value <= 1) return undefined;
  const isPercentage = typeof value === 'number' && value > 1 && value <= 100;
  return problemMessage('a ratio above 0 and at most 1', value, isPercentage ? `write ${value / 100}` : undefined);
}

function statusCodeProblems(value: unknown): readonly NestedProblem[] {
  if (!Array.isArray(value)) {
    return problemOf('statusCodes', problemMessage('a list of status codes, such as ["UNAVAILABLE"]', value));
  }
  return value.flatMap((entry: unknown, index) => {
    if (parseStatusCode(entry) !== undefined) return [];
    const remedy = suggestStatusCode(entry);
    const message = problemMessage('the name of a status code or a number from 0 to 16', entry, remedy);
    return [{ keys: ['statusCodes', index], message }];
  });
}

/** Completes valid `options` with the defaults. */
export function completeCircuitBreaker(options: CircuitBreakerOptions): CircuitBreakerPolicy {
  const standard = DEFAULT_CIRCUIT_BREAKER;
  const breakDurationMs = options.breakDurationMs ?? standard.breakDurationMs;
  const codes = options.statusCodes?.map(parseStatusCode).filter((code) => code !== undefined);
  return Object.freeze({
    failureRatio: options.failureRatio ?? standard.failureRatio,
    minimumThroughput: options.minimumThroughput ?? standard.minimumThroughput,
    samplingDurationMs: options.samplingDurationMs ?? standard.samplingDurationMs,
    breakDurationMs,
    maxBreakDurationMs: Math.max(standard.maxBreakDurationMs, breakDurationMs),
    probeTimeoutMs: breakDurationMs,
    statusCodes: codes === undefined ? standard.statusCodes : new Set<StatusCode>(codes),
  });
}
