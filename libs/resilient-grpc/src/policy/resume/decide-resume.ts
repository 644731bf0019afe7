import type { Random } from '../../time/random.js';
import { StatusCode } from '../../status/status-code.js';
import { backoffMs, type BackoffJitter, type RetryPolicy } from '../retry/retry-policy.js';
import { failureKind, type FailureKind, type StreamFailure } from './stream-failure.js';

/** Backoff and limits of a resumable stream. */
export interface ResumePolicy extends Pick<RetryPolicy, 'initialBackoffMs' | 'maxBackoffMs' | 'backoffMultiplier'> {
  /** Maximum number of failed calls since the last progress or healthy call; at this number, the stream fails. Infinity for no limit. */
  readonly maxAttempts: number;
  readonly jitter: BackoffJitter;
  /** Minimum duration of a healthy call, with or without messages. Values below `MIN_LIFE_MS` count as `MIN_LIFE_MS`. */
  readonly minHealthyMs: number;
}

/**
 * Minimum lifetime of a healthy call, in milliseconds. A server failure within this time is evidence against the message at the stream's
 * position, whatever `minHealthyMs` is.
 */
export const MIN_LIFE_MS = 1_000;

/**
 * Maximum delay in milliseconds that a server can request between two calls of a stream. A stream often has no deadline, so a single wrong
 * status would otherwise silence it for days.
 */
export const MAX_REQUESTED_DELAY_MS = 300_000;

/** Default policy of a resumable stream. */
export const DEFAULT_RESUME_POLICY: ResumePolicy = {
  maxAttempts: Infinity,
  initialBackoffMs: 100,
  maxBackoffMs: 10_000,
  backoffMultiplier: 2,
  jitter: 'grpc',
  // Equals the maximum backoff of a channel. Shorter calls of a quiet feed increase the backoff. After the first backoffs, a server that
  // ends every call therefore receives at most one call per 5 s.
  minHealthyMs: 5_000,
};

/**
 * Number of server failures at one position after which the stream fails with reason 'poison'. Without this limit, the client would
 * endlessly request a message that the server cannot send. Only failures that are evidence against the position count. Lost connections,
 * UNAVAILABLE, and failures of calls that lasted `minHealthyMs` are excluded.
 */
export const MAX_SERVER_FAILURES = 5;

/** Counters of a stream since its last progress or its last healthy call. */
export interface ResumeState {
  /** Failed calls. */
  readonly attempts: number;
  /** Failed calls that count toward `MAX_SERVER_FAILURES`. */
  readonly serverFailures: number;
  /** Backoffs so far. */
  readonly waits: number;
}

/** State of a stream that starts or has just made progress. */
export const INITIAL_RESUME_STATE: ResumeState = { attempts: 0, serverFailures: 0, waits: 0 };

/** Ended call of a resumable stream. */
export interface EndedCall {
  /** Failure of the call; `undefined` if the call ended cleanly, or if the client ended it at its maximum age. */
  readonly failure: StreamFailure | undefined;
  /** True if the client ended the call at its maximum age, which is jittered. @defaultValue false */
  readonly aged?: boolean;
  /** True if the stream made progress: its cursor advanced, or a message was acknowledged. */
  readonly progressed: boolean;
  /**
   * Milliseconds since the start of the last attempt. If the client ended the call after a time without progress, that time is excluded.
   */
  readonly livedMs: number;
  /** Decision of the user's error handler; `undefined` for the default. The handler is not called for failures of kind 'client-closing'. */
  readonly requested?: 'resume' | 'complete' | 'fail' | undefined;
}

interface Resumption {
  readonly action: 'resume';
  readonly delayMs: number;
  readonly because: 'ended' | 'lost' | 'server' | 'requested';
  readonly state: ResumeState;
}

/** Decision that follows a call of a resumable stream. */
export type ResumeDecision =
  | Resumption
  | { readonly action: 'complete'; readonly because: 'requested' }
  | {
      readonly action: 'fail';
      readonly because:
        | Exclude<FailureKind, 'lost' | 'server'>
        | 'requested'
        /** The server's pushback forbade a retry. */
        | 'pushback'
        /** The server failed `MAX_SERVER_FAILURES` calls at one position, soon after they started. */
        | 'poison'
        | 'attempts-exhausted';
    };

/**
 * Decides whether and when another call resumes a stream. Progress, or a call that lasted `minHealthyMs`, resets the backoff and the
 * counters. A shorter call without progress that ended cleanly resets nothing. It is not a failure, but a backoff follows it.
 */
export function decideResume(
  before: ResumeState,
  call: EndedCall,
  policy: ResumePolicy,
  random: Random,
): ResumeDecision {
  const isHealthy = call.livedMs >= Math.max(policy.minHealthyMs, MIN_LIFE_MS);
  const isReset = call.progressed || isHealthy;
  const state = isReset ? INITIAL_RESUME_STATE : before;
  const { failure } = call;
  const resume = (because: Resumption['because'], { waits, ...counted }: ResumeState): Resumption => {
    // After a healthy call, the jitter is full, because one cause may have ended the streams of a whole fleet.
    const spread = isHealthy ? 'full' : policy.jitter;
    const backoff = isHealthy && call.aged === true ? 0 : backoffMs(policy, waits, random, spread);
    const delayMs = Math.max(backoff, minWaitMs(failure));
    return { action: 'resume', delayMs, because, state: { ...counted, waits: isHealthy ? 0 : waits + 1 } };
  };
  if (failure === undefined) return resume('ended', state);
  const kind = failureKind(failure);
  if (kind === 'client-closing') return fail('client-closing');
  if (call.requested === 'complete') return { action: 'complete', because: 'requested' };
  if (call.requested === 'fail') return fail('requested');
  // onError cannot resume the stream after these failures, because a cancelled stream would restart endlessly.
  if (kind === 'ended-by-caller') return fail('ended-by-caller');
  if (call.requested !== 'resume') {
    if (kind !== 'lost' && kind !== 'server') return fail(kind);
    if (failure.pushback.kind === 'stop') return fail('pushback');
  }
  const failed = {
    attempts: state.attempts + (isReset ? 0 : 1),
    serverFailures: state.serverFailures + (isServerFailure(failure) && !isHealthy ? 1 : 0),
    waits: state.waits,
  };
  if (failed.serverFailures >= MAX_SERVER_FAILURES) return fail('poison');
  if (failed.attempts >= policy.maxAttempts) return fail('attempts-exhausted');
  return resume(kind === 'lost' || kind === 'server' ? kind : 'requested', failed);
}

/**
 * Returns the minimum wait, in milliseconds, that the server, the channel, or a circuit breaker requires. The wait is limited to 5 minutes,
 * except for a circuit breaker.
 */
function minWaitMs(failure: StreamFailure | undefined): number {
  if (failure === undefined) return 0;
  const { reason, pushback, retryAfterMs = 0 } = failure;
  // Not limited, because the delay of a circuit breaker comes from its own options.
  if (reason === 'circuit-open') return retryAfterMs;
  return Math.min(Math.max(pushback.kind === 'delay' ? pushback.ms : 0, retryAfterMs), MAX_REQUESTED_DELAY_MS);
}

// True if the failure of an unhealthy call counts toward `MAX_SERVER_FAILURES`. Protocol violations count, because the message that causes
// a violation causes it again when the stream resumes. UNAVAILABLE does not count, because the same call may succeed later, and because a
// proxy returns UNAVAILABLE while its upstream is unreachable.
function isServerFailure({ reason, code }: StreamFailure): boolean {
  return reason === 'protocol' || (reason === 'server' && code !== StatusCode.UNAVAILABLE);
}

function fail(because: Extract<ResumeDecision, { action: 'fail' }>['because']): ResumeDecision {
  return { action: 'fail', because };
}
