import * as v from 'valibot';
import { openObject, rulesOf } from '../options/option-schemas.js';
import { circuitBreakerProblems, completeCircuitBreaker } from './circuit-breaker-options.js';
import type { CircuitBreakerOptions } from './circuit-breaker.js';

/** Schema of a circuit breaker's options; completes them with the defaults. */
export const circuitBreakerSchema = v.pipe(
  openObject({}, 'an object such as { failureRatio: 0.5 }, or {} for the defaults'),
  rulesOf(circuitBreakerProblems),
  // The cast is safe: `circuitBreakerProblems` has found no problems.
  v.transform((options) => completeCircuitBreaker(options as CircuitBreakerOptions)),
);
