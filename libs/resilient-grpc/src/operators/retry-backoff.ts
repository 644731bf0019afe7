import { asyncScheduler, retry, throwError, timer, type MonoTypeOperatorFunction } from 'rxjs';
import * as v from 'valibot';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, millisecondsOrNever, object, positive, milliseconds } from '../policy/options/option-schemas.js';
import { backoffMs, type BackoffJitter } from '../policy/retry/retry-policy.js';
import { systemRandom } from '../time/random.js';
import { isTransient } from './error-status.js';
import { schedulerEntries, timerMs, type SchedulerOptions } from './scheduler-clock.js';
import { DEFAULT_RESUME_POLICY } from '../policy/resume/decide-resume.js';

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

const schema = object({
  maxAttempts: integer(1),
  initialBackoffMs: millisecondsOrNever,
  maxBackoffMs: millisecondsOrNever,
  backoffMultiplier: v.optional(positive, 2),
  jitter: v.optional(v.picklist(['grpc', 'full']), 'grpc'),
  retryOn: v.optional(v.function()),
  ...schedulerEntries,
});

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

/** Backoff between the calls of one stream, and the duration of a healthy call. */
export interface ResumeBackoffOptions {
  /**
   * Backoff between calls. Each key overrides the default: 100 ms, doubling to 10 s, ±20%, any number of attempts. Progress or a healthy
   * call (`minHealthyMs`) resets the backoff. `maxAttempts` limits the number of consecutive calls that fail without progress and are not
   * healthy. When the limit is reached, the stream fails with the error of the last call. If the error of a call has a `retryAfterMs` or a
   * pushback, the delay before the next call is at least that long. A delay that the server requested is capped at 5 minutes.
   */
  readonly backoff?: { readonly [K in keyof Backoff]?: Backoff[K] | undefined } | undefined;
  /**
   * Minimum duration of a healthy call in milliseconds, 0 or more; less than 1000 counts as 1000. A healthy call resets the backoff when it
   * ends, even if it carried no messages, and its failure does not count toward `reason: 'poison'`. The next call starts after a random
   * delay within the initial backoff, or immediately if the call reached `maxAgeMs`. A shorter call is followed by a backoff. The duration
   * is measured from the start of the last attempt and excludes the wait for the channel.
   * @defaultValue 5000
   */
  readonly minHealthyMs?: number | undefined;
}

/** Schema of the options that `resumable()` and `replayUnacknowledged()` have in common. */
export const sessionEntries = {
  onError: v.optional(v.function()),
  maxAgeMs: v.optional(millisecondsOrNever, Infinity),
  minHealthyMs: v.optional(milliseconds, DEFAULT_RESUME_POLICY.minHealthyMs),
  backoff: v.optional(
    object({
      maxAttempts: v.optional(v.union([v.literal(Infinity), integer(1)]), DEFAULT_RESUME_POLICY.maxAttempts),
      initialBackoffMs: v.optional(millisecondsOrNever, DEFAULT_RESUME_POLICY.initialBackoffMs),
      maxBackoffMs: v.optional(millisecondsOrNever, DEFAULT_RESUME_POLICY.maxBackoffMs),
      backoffMultiplier: v.optional(positive, DEFAULT_RESUME_POLICY.backoffMultiplier),
      jitter: v.optional(v.picklist(['grpc', 'full']), DEFAULT_RESUME_POLICY.jitter),
    }),
    {},
  ),
  ...schedulerEntries,
};
