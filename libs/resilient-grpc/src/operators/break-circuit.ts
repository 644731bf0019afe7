import { defer, tap, throwError, type MonoTypeOperatorFunction } from 'rxjs';
import { CircuitOpenError } from '../errors/operator-errors.js';
import type { AttemptOutcome } from '../policy/circuit-breaker/circuit-breaker.js';
import type { CircuitBreaker } from './circuit-breaker.js';
import { outcomeOf } from './error-status.js';

/**
 * Fails immediately with `CircuitOpenError` until the break of an open circuit ends, and while a half-open circuit has a running probe. The
 * first value or the completion of a subscription counts as a success. The reason and status of an error before the first value determine
 * whether the error counts as a failure. An unsubscription before the first value, completion, or error is ignored.
 *
 * In a pipe, place `breakCircuit` after `deadline` and before `retryBackoff`, so that each attempt counts and a hanging attempt counts as a
 * failure.
 */
export function breakCircuit<T>(breaker: CircuitBreaker): MonoTypeOperatorFunction<T> {
  const { circuit } = breaker;
  return (source) =>
    defer(() => {
      const admission = circuit.tryAcquire(breaker.now());
      if (!admission.admitted) {
        return throwError(() => new CircuitOpenError(breaker.name, admission.retryAfterMs));
      }
      let isSettled = false;
      const settle = (outcome: AttemptOutcome): void => {
        if (isSettled) return;
        isSettled = true;
        circuit.onResult(admission.token, outcome, breaker.now());
      };
      return source.pipe(
        tap({
          // A stream may last for days; its first message shows that the server responds.
          next: () => settle('success'),
          complete: () => settle('success'),
          error: (error: unknown) => settle(outcomeOf(error, circuit.policy)),
          unsubscribe: () => settle('ignored'),
        }),
      );
    });
}
