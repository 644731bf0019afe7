import { defer, tap, throwError, type MonoTypeOperatorFunction } from 'rxjs';
import { CircuitOpenError } from '../errors/operator-errors.js';
import {
  type AttemptOutcome,
  CircuitBreakerCore as Circuit,
  circuitBreakerSchema,
  type CircuitTransition,
  type CircuitBreakerOptions,
} from '../policy/circuit-breaker/circuit-breaker.js';
import { outcomeOf } from './error-status.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { notifyListener } from '../errors/error-message.js';
import { systemRandom } from '../time/random.js';
import { schedulerClock, type SchedulerOptions } from './scheduler-clock.js';

/** Name of a circuit breaker, and the listener for its transitions. */
export interface CircuitBreakerInstanceOptions {
  /** Name in errors. @defaultValue 'the source' */
  readonly name?: string | undefined;
  /** Called after each change of state. Errors that it throws are rethrown in a microtask, outside the subscriptions. */
  readonly onTransition?: ((transition: CircuitTransition) => void) | undefined;
}

/**
 * Circuit state shared by all subscriptions through `breakCircuit(breaker)`. Create one for each dependency that can fail independently.
 * Uses the same state machine as a client's circuit breaker.
 */
export class CircuitBreaker {
  /** Name in errors. */
  readonly name: string;
  /** Current time in milliseconds. @internal */
  readonly now: () => number;
  /** State machine of the circuit. @internal */
  readonly circuit: Circuit;

  /** @throws {GrpcConfigurationError} if the options are invalid. */
  constructor(options: CircuitBreakerOptions & CircuitBreakerInstanceOptions & SchedulerOptions = {}) {
    const { scheduler, random = systemRandom, name = 'the source', onTransition, ...policy } = options;
    const notify = onTransition && ((transition: CircuitTransition) => notifyListener(onTransition, transition));
    this.circuit = new Circuit(requireOptions(circuitBreakerSchema, policy, 'circuitBreaker'), random, notify);
    this.name = name;
    const clock = schedulerClock(scheduler);
    this.now = () => clock.now();
  }

  /** State of the circuit. After `breakDurationMs`, the state stays 'open' until a probe is admitted. */
  get state(): 'closed' | 'open' | 'half-open' {
    return this.circuit.state;
  }
}

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
