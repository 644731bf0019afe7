import * as v from 'valibot';
import { millisecondsOrNever, openObject } from '../policy/options/option-schemas.js';
import { DEFAULT_RESUME_POLICY } from '../policy/resume/resume-policy.js';
import { BACKOFF_SCHEMAS, type Backoff } from './retry-backoff.js';

/** Backoff between the calls of one stream, and the duration of a healthy call. */
export interface ResumeBackoffOptions {
  /**
   * Backoff between calls. Each key overrides the default: 100 ms, doubling to 10 s, ±20 %. Progress and a healthy call (`minHealthyMs`)
   * reset it. `maxAttempts` counts consecutive calls that failed without either; the error of the last one is emitted. A `retryAfterMs` or
   * pushback of the error is the minimum delay.
   * @defaultValue any number of attempts
   */
  readonly backoff?: { readonly [K in keyof Backoff]?: Backoff[K] | undefined } | undefined;
  /**
   * Minimum duration of a healthy call in milliseconds, 0 or more; less than 1000 counts as 1000. The end of a healthy call resets the
   * backoff, even if the call carried no messages. It does not count as a server failure at the cursor, and the next call starts after a
   * random delay within the initial backoff. A shorter call is followed by a backoff. The duration is measured from the last attempt and
   * excludes the wait for the channel. @defaultValue 5000
   */
  readonly minHealthyMs?: number | undefined;
}

const { minHealthyMs, ...BACKOFF } = DEFAULT_RESUME_POLICY;

/** Schemas of the options in `ResumeBackoffOptions`. */
export const RESUME_PACE_SCHEMAS = {
  minHealthyMs: v.optional(millisecondsOrNever(0), minHealthyMs),
  backoff: v.optional(
    openObject(
      {
        jitter: v.optional(BACKOFF_SCHEMAS.jitter, BACKOFF.jitter),
        // Infinity is valid here, but it is not an integer.
        maxAttempts: v.optional(v.union([v.literal(Infinity), BACKOFF_SCHEMAS.maxAttempts]), BACKOFF.maxAttempts),
        initialBackoffMs: v.optional(BACKOFF_SCHEMAS.initialBackoffMs, BACKOFF.initialBackoffMs),
        maxBackoffMs: v.optional(BACKOFF_SCHEMAS.maxBackoffMs, BACKOFF.maxBackoffMs),
        backoffMultiplier: v.optional(BACKOFF_SCHEMAS.backoffMultiplier, BACKOFF.backoffMultiplier),
      },
      'an object such as { maxBackoffMs: 5000 }',
    ),
    {},
  ),
};
