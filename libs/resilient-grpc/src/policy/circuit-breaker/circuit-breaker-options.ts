import { parseStatusCode, type StatusCode } from '../../status/status-code.js';
import { problemMessage } from '../options/describe-value.js';
import {
  integerRule,
  millisecondsRule,
  numberProblem,
  POSITIVE,
  unknownOptionMessage,
  type NumberRule,
} from '../options/value-rules.js';
import { DEFAULT_CIRCUIT_BREAKER, type CircuitBreakerOptions, type CircuitBreakerPolicy } from './circuit-breaker.js';

const RATIO_RULE: NumberRule = {
  expected: 'a ratio above 0 and at most 1',
  isValid: (value) => value > 0 && value <= 1,
};

function isCode(value: unknown): boolean {
  return parseStatusCode(value) !== undefined;
}

function finite({ expected, isValid }: NumberRule): NumberRule {
  return { expected, isValid: (value) => Number.isFinite(value) && isValid(value) };
}

/** Returns the message for the value of each option; `undefined` for a valid one. */
const CHECKS: Readonly<Record<keyof CircuitBreakerOptions, (value: unknown) => string | undefined>> = {
  failureRatio: (value) => numberProblem(value, RATIO_RULE),
  minimumThroughput: (value) => numberProblem(value, integerRule(1)),
  samplingDurationMs: (value) => numberProblem(value, finite(millisecondsRule(100))),
  breakDurationMs: (value) => numberProblem(value, finite(millisecondsRule(POSITIVE))),
  statusCodes: (value) => {
    const codes: readonly unknown[] | undefined = Array.isArray(value) ? value : undefined;
    if (codes?.every(isCode) === true) return undefined;
    return problemMessage(
      'a list of status codes, such as ["UNAVAILABLE"]',
      codes?.find((code) => !isCode(code)) ?? value,
    );
  },
};

/** Returns the message of each invalid option in `options`, by key. A null value means the default. */
export function circuitBreakerProblems(options: object): Readonly<Record<string, string | undefined>> {
  const known = Object.keys(CHECKS);
  const given = Object.entries(options).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(
    given.map(([key, value]: [string, unknown]) => [
      key,
      isOption(key) ? CHECKS[key](value) : unknownOptionMessage(key, known),
    ]),
  );
}

function isOption(key: string): key is keyof CircuitBreakerOptions {
  return Object.hasOwn(CHECKS, key);
}

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
