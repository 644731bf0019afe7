import { asyncScheduler, retry, throwError, timer, type MonoTypeOperatorFunction } from 'rxjs';
import type { Problems } from '../policy/service-config/problem.js';
import { readInteger, readPositive } from '../policy/service-config/read.js';
import { backoffMs, type BackoffJitter } from '../policy/retry/backoff.js';
import { systemRandom } from '../time/random.js';
import { isTransient } from './error-status.js';
import { readLength, readOptions } from './options.js';
import { timerMs, type Seams } from './seams.js';

/** How often, and how long apart, something is tried. */
export interface Backoff {
  /** Includes the original attempt; 1 or more. */
  readonly maxAttempts: number;
  /** Wait before the first retry, in milliseconds. */
  readonly initialBackoffMs: number;
  /** Longest wait in milliseconds, before it is spread. */
  readonly maxBackoffMs: number;
  /** @defaultValue 2 */
  readonly backoffMultiplier?: number | undefined;
  /** 'grpc': ±20 %; 'full': from 0 to the whole. @defaultValue 'grpc' */
  readonly jitter?: BackoffJitter | undefined;
}

/** Options of `retryBackoff`. */
export interface RetryBackoffOptions extends Backoff, Seams {
  /**
   * Whether attempt number `attempt` (1 = the original), which failed with `error`, is followed by another.
   * @defaultValue UNAVAILABLE, DeadlineError, and errors without a status code of gRPC; not those that say they are not safe to repeat
   */
  readonly retryOn?: ((error: unknown, attempt: number) => boolean) | undefined;
}

const DEFAULT_BACKOFF_MULTIPLIER = 2;
const JITTERS: readonly string[] = ['grpc', 'full'] satisfies BackoffJitter[];

/**
 * Subscribes again after a failure, with gRPC's backoff in between. The failure of the last attempt is passed on at once.
 *
 * What an attempt emitted before it failed has been passed on, and its successor may emit it again: for streams that is what
 * `resumable` is for. It has no budget: behind a client of this library its own retries, which have one, come first.
 * @throws {GrpcConfigurationError} for options that are none.
 */
export function retryBackoff<T>(options: RetryBackoffOptions): MonoTypeOperatorFunction<T> {
  const policy = readOptions((problems) => readBackoff(options, 'retryBackoff', problems));
  const { retryOn = isTransient, scheduler = asyncScheduler, random = systemRandom } = options;
  return retry<T>({
    delay: (error: unknown, attempt) => {
      if (attempt >= policy.maxAttempts || !retryOn(error, attempt)) return throwError(() => error);
      return timer(timerMs(backoffMs(policy, attempt - 1, random, policy.jitter)), scheduler);
    },
  });
}

/** `options` as they are, with a problem for all that is wrong. */
export function readBackoff(options: Backoff, path: string, problems: Problems) {
  const { backoffMultiplier = DEFAULT_BACKOFF_MULTIPLIER, jitter = 'grpc' } = options;
  if (!JITTERS.includes(jitter)) problems.add(`${path}.jitter`, "'grpc' or 'full'", jitter);
  return {
    maxAttempts: readInteger(options.maxAttempts, `${path}.maxAttempts`, problems, 1) ?? 1,
    initialBackoffMs: readLength(options.initialBackoffMs, `${path}.initialBackoffMs`, problems),
    maxBackoffMs: readLength(options.maxBackoffMs, `${path}.maxBackoffMs`, problems),
    backoffMultiplier: readPositive(backoffMultiplier, `${path}.backoffMultiplier`, problems) ?? NaN,
    jitter,
  };
}
