import { asyncScheduler, retry, throwError, timer, type MonoTypeOperatorFunction } from 'rxjs';
import * as v from 'valibot';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, millisecondsOrNever, object, positive } from '../policy/options/option-schemas.js';
import { backoffMs, type BackoffJitter } from '../policy/retry/retry-policy.js';
import { systemRandom } from '../time/random.js';
import { isTransient } from './error-status.js';
import { schedulerEntries, timerMs, type SchedulerOptions } from './scheduler-clock.js';

/** Number of attempts and the backoff between them. */
export interface Backoff {
  /** Maximum number of attempts, including the original; 1 or more. */
  readonly maxAttempts: number;
  /** Backoff before the first retry in milliseconds, above 0. */
  readonly initialBackoffMs: number;
  /** Maximum backoff in milliseconds, before jitter, above 0. */
  readonly maxBackoffMs: number;
  /** Factor by which the backoff grows with each retry, above 0. @defaultValue 2 */
  readonly backoffMultiplier?: number | undefined;
  /** Jitter of the backoff: 'grpc' is ±20%, 'full' is a random value between 0 and the full backoff. @defaultValue 'grpc' */
  readonly jitter?: BackoffJitter | undefined;
}

/** Options of `retryBackoff`. */
export interface RetryBackoffOptions extends Backoff, SchedulerOptions {
  /**
   * True if another attempt may follow attempt number `attempt` (1 = the original), which failed with `error`.
   * @defaultValue true for UNAVAILABLE, DeadlineError, and errors without a gRPC status code, except cancelled calls, calls that are
   * not safe to repeat, and rejections by a circuit breaker, a concurrency limit, or a client that is shutting down
   */
  readonly retryOn?: ((error: unknown, attempt: number) => boolean) | undefined;
}

/** Schema of `Backoff`. */
export const backoffEntries = {
  maxAttempts: integer(1),
  initialBackoffMs: millisecondsOrNever,
  maxBackoffMs: millisecondsOrNever,
  backoffMultiplier: v.optional(positive, 2),
  jitter: v.optional(v.picklist(['grpc', 'full']), 'grpc'),
};

const schema = object({ ...backoffEntries, retryOn: v.optional(v.function()), ...schedulerEntries });

/**
 * Resubscribes after a failure, with gRPC's backoff between attempts. The error of the last attempt is emitted without delay.
 *
 * Values that an attempt emitted before it failed have already been delivered, and the next attempt may emit them again; use `resumable`
 * for streams. The operator has no retry budget. A client of this library first makes its own retries, which have a budget.
 * @throws {GrpcConfigurationError} if the options are invalid.
 */
export function retryBackoff<T>(options: RetryBackoffOptions): MonoTypeOperatorFunction<T> {
  const policy = requireOptions(schema, options, 'retryBackoff');
  const { retryOn = isTransient, scheduler = asyncScheduler, random = systemRandom } = options;
  return retry<T>({
    delay: (error: unknown, attempt) => {
      if (attempt >= policy.maxAttempts || !retryOn(error, attempt)) return throwError(() => error);
      return timer(timerMs(backoffMs(policy, attempt - 1, random, policy.jitter)), scheduler);
    },
  });
}
