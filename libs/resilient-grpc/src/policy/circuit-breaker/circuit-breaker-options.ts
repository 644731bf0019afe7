import * as v from 'valibot';
import {
  integer,
  millisecondsOrNone,
  object,
  positive,
  positiveMilliseconds,
  statusCodes,
} from '../options/option-schemas.js';
import { DEFAULT_CIRCUIT_BREAKER, type CircuitBreakerPolicy } from './circuit-breaker.js';

/** Schema of a circuit breaker's options; completes them with the defaults. A null value means the default. */
export const circuitBreakerSchema = v.pipe(
  object({
    failureRatio: v.nullish(v.pipe(positive, v.maxValue(1))),
    minimumThroughput: v.nullish(integer(1)),
    samplingDurationMs: v.nullish(millisecondsOrNone(100)),
    breakDurationMs: v.nullish(positiveMilliseconds),
    statusCodes: v.nullish(statusCodes(0)),
  }),
  v.transform((options): CircuitBreakerPolicy => {
    const standard = DEFAULT_CIRCUIT_BREAKER;
    const breakDurationMs = options.breakDurationMs ?? standard.breakDurationMs;
    return Object.freeze({
      failureRatio: options.failureRatio ?? standard.failureRatio,
      minimumThroughput: options.minimumThroughput ?? standard.minimumThroughput,
      samplingDurationMs: options.samplingDurationMs ?? standard.samplingDurationMs,
      breakDurationMs,
      maxBreakDurationMs: Math.max(standard.maxBreakDurationMs, breakDurationMs),
      probeTimeoutMs: breakDurationMs,
      statusCodes: options.statusCodes ?? standard.statusCodes,
    });
  }),
);
