import * as v from 'valibot';
import { DEFAULT_RESUME_POLICY, type ResumePolicy } from '../policy/resume/decide-resume.js';
import { integer, milliseconds, millisecondsOrNever, object } from '../policy/options/option-schemas.js';
import { backoffEntries, type Backoff } from './retry-backoff.js';
import { schedulerEntries } from './scheduler-clock.js';

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

/** Returns `options`, completed with the defaults. */
export function completeResumePace(options: ResumeBackoffOptions): ResumePolicy {
  const standard = DEFAULT_RESUME_POLICY;
  const { backoff, minHealthyMs = standard.minHealthyMs } = options;
  return {
    maxAttempts: backoff?.maxAttempts ?? standard.maxAttempts,
    initialBackoffMs: backoff?.initialBackoffMs ?? standard.initialBackoffMs,
    maxBackoffMs: backoff?.maxBackoffMs ?? standard.maxBackoffMs,
    backoffMultiplier: backoff?.backoffMultiplier ?? standard.backoffMultiplier,
    jitter: backoff?.jitter ?? standard.jitter,
    minHealthyMs,
  };
}

/** Schema of the options that `resumable()` and `replayUnacknowledged()` have in common. */
export const sessionEntries = {
  onError: v.optional(v.function()),
  maxAgeMs: v.optional(millisecondsOrNever),
  minHealthyMs: v.optional(milliseconds(0)),
  backoff: v.optional(
    object({
      maxAttempts: v.optional(v.union([v.literal(Infinity), integer(1)])),
      initialBackoffMs: v.optional(backoffEntries.initialBackoffMs),
      maxBackoffMs: v.optional(backoffEntries.maxBackoffMs),
      backoffMultiplier: backoffEntries.backoffMultiplier,
      jitter: backoffEntries.jitter,
    }),
  ),
  ...schedulerEntries,
};
