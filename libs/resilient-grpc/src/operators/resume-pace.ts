import { DEFAULT_RESUME_POLICY, type ResumePolicy } from '../policy/resume/resume-policy.js';
import type { Problems } from '../policy/service-config/problem.js';
import { readBackoff, type Backoff } from './retry-backoff.js';

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

/** Reads `options` with defaults applied and adds a problem for each invalid value. */
export function readResumePace(options: ResumeBackoffOptions, path: string, problems: Problems): ResumePolicy {
  const { minHealthyMs = DEFAULT_RESUME_POLICY.minHealthyMs } = options;
  if (!(typeof minHealthyMs === 'number' && minHealthyMs >= 0)) {
    problems.add(`${path}.minHealthyMs`, 'a number of milliseconds of 0 or more', minHealthyMs);
  }
  const { maxAttempts, initialBackoffMs, maxBackoffMs, backoffMultiplier, jitter } = options.backoff ?? {};
  const given = maxAttempts ?? DEFAULT_RESUME_POLICY.maxAttempts;
  const backoff = readBackoff(
    {
      // Infinity is valid here, but it is not an integer.
      maxAttempts: given === Infinity ? 1 : given,
      initialBackoffMs: initialBackoffMs ?? DEFAULT_RESUME_POLICY.initialBackoffMs,
      maxBackoffMs: maxBackoffMs ?? DEFAULT_RESUME_POLICY.maxBackoffMs,
      backoffMultiplier: backoffMultiplier ?? DEFAULT_RESUME_POLICY.backoffMultiplier,
      jitter: jitter ?? DEFAULT_RESUME_POLICY.jitter,
    },
    `${path}.backoff`,
    problems,
  );
  return { ...backoff, maxAttempts: given === Infinity ? Infinity : backoff.maxAttempts, minHealthyMs };
}
