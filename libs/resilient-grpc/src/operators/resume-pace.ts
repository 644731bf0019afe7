import { DEFAULT_RESUME_POLICY, type ResumePolicy } from '../policy/resume/resume-policy.js';
import type { Problems } from '../policy/service-config/problem.js';
import { readBackoff, type Backoff } from './retry-backoff.js';

/** Pace and bounds of the calls that a stream consists of. */
export interface ResumePace {
  /**
   * Waits between calls, key by key over the default: 100 ms, doubling to 10 s, ±20 %. Progress and a healthy call
   * (`minHealthyMs`) reset them. `maxAttempts` counts calls in a row that failed without either; the failure of the last is passed
   * on. A `retryAfterMs` or pushback of the error is the least wait.
   * @defaultValue any number of attempts
   */
  readonly backoff?: { readonly [K in keyof Backoff]?: Backoff[K] | undefined } | undefined;
  /**
   * Milliseconds, 0 or more; less than 1000 counts as 1000. A call that lasted at least this long was healthy, even if it carried
   * nothing: its end resets the backoff, is no evidence against the message at the cursor, and the next call begins within the
   * first backoff, at random. A shorter call is followed by a backoff. The time counts from the last attempt, without the wait
   * for the channel. @defaultValue 5000
   */
  readonly minHealthyMs?: number | undefined;
}

/** `options` over the default, with a problem for all that is wrong. */
export function readResumePace(options: ResumePace, path: string, problems: Problems): ResumePolicy {
  const { minHealthyMs = DEFAULT_RESUME_POLICY.minHealthyMs } = options;
  if (!(typeof minHealthyMs === 'number' && minHealthyMs >= 0)) {
    problems.add(`${path}.minHealthyMs`, 'a number of milliseconds of 0 or more', minHealthyMs);
  }
  const { maxAttempts, initialBackoffMs, maxBackoffMs, backoffMultiplier, jitter } = options.backoff ?? {};
  const given = maxAttempts ?? DEFAULT_RESUME_POLICY.maxAttempts;
  const backoff = readBackoff(
    {
      // Which is no integer, and means what it says.
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
