import { DEFAULT_RESUME_POLICY, type ResumePolicy } from '../policy/resume/decide-resume.js';
import { millisecondsRule, numberProblem } from '../policy/options/value-rules.js';
import { readableOptions, unknownOptionMessages } from './options.js';
import { backoffMessages, type Backoff } from './retry-backoff.js';

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

/** Keys that the options of `resumable()` and `replayUnacknowledged()` have in common. */
export const SESSION_KEYS = {
  onError: true,
  maxAgeMs: true,
  backoff: true,
  minHealthyMs: true,
  scheduler: true,
  random: true,
} as const;

const BACKOFF_KEYS: Readonly<Record<keyof Backoff, true>> = {
  maxAttempts: true,
  initialBackoffMs: true,
  maxBackoffMs: true,
  backoffMultiplier: true,
  jitter: true,
};

/** Returns the message of each invalid option in `pace`, and of each unknown key of `backoff`, for an operator at `path`. */
export function resumePaceMessages(
  pace: ResumePolicy,
  backoff: ResumeBackoffOptions['backoff'],
  path: string,
): Readonly<Record<string, string | undefined>> {
  // Infinity is valid here, but `backoffMessages` accepts only integers, so 1 is checked instead.
  const maxAttempts = pace.maxAttempts === Infinity ? 1 : pace.maxAttempts;
  return {
    ...unknownOptionMessages(readableOptions(backoff ?? {}), BACKOFF_KEYS, `${path}.backoff`),
    [`${path}.minHealthyMs`]: numberProblem(pace.minHealthyMs, millisecondsRule(0)),
    ...backoffMessages({ ...pace, maxAttempts }, `${path}.backoff`),
  };
}
