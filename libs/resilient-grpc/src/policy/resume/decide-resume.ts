import type { Random } from '../../time/random.js';
import { StatusCode } from '../../status/status-code.js';
import { backoffMs } from '../retry/backoff.js';
import { MAX_SERVER_FAILURES, MIN_LIFE_MS, type ResumePolicy } from './resume-policy.js';
import { failureKind, type FailureKind, type StreamFailure } from './stream-failure.js';

/** Counters of a stream since its last progress, or its last healthy call. */
export interface ResumeState {
  /** Calls that failed. */
  readonly attempts: number;
  /** Those of them that the server failed. */
  readonly serverFailures: number;
  /** Backoffs that were waited. */
  readonly waits: number;
}

/** State of a stream that starts, or has just made progress. */
export const NO_SETBACK: ResumeState = { attempts: 0, serverFailures: 0, waits: 0 };

/** A call of a stream that has ended. */
export interface EndedCall {
  /** `undefined` if it ended cleanly, or was left for its age. */
  readonly failure: StreamFailure | undefined;
  /** This side left it for its age, which differs from stream to stream. @defaultValue false */
  readonly aged?: boolean;
  /** It brought the stream further: its cursor advanced, or something was acknowledged. */
  readonly progressed: boolean;
  /** From the start of its last attempt, without the silence that this side ended it for. */
  readonly livedMs: number;
  /** What the user says to the failure; undefined: as by default. Not to be asked about one of the kind 'shut'. */
  readonly asked?: 'resume' | 'complete' | 'fail' | undefined;
}

interface Resumption {
  readonly action: 'resume';
  readonly delayMs: number;
  readonly because: 'ended' | 'lost' | 'server' | 'asked';
  readonly state: ResumeState;
}

/** What follows a call of a stream. */
export type ResumeDecision =
  | Resumption
  | { readonly action: 'complete'; readonly because: 'asked' }
  | {
      readonly action: 'fail';
      readonly because:
        | Exclude<FailureKind, 'lost' | 'server'>
        | 'asked'
        /** The server said not to come again. */
        | 'pushback'
        /** It failed `MAX_SERVER_FAILURES` times at one place, soon after its calls started. */
        | 'poison'
        | 'attempts-exhausted';
    };

/**
 * Decides whether another call resumes a stream, and when. Progress and a call that lasted `minHealthyMs` reset backoff and
 * counters. A call that ended cleanly sooner does neither: it is no failure, but a backoff follows it.
 */
export function decideResume(
  before: ResumeState,
  call: EndedCall,
  policy: ResumePolicy,
  random: Random,
): ResumeDecision {
  const isHealthy = call.livedMs >= Math.max(policy.minHealthyMs, MIN_LIFE_MS);
  const isReset = call.progressed || isHealthy;
  const state = isReset ? NO_SETBACK : before;
  const { failure } = call;
  const resume = (because: Resumption['because'], { waits, ...counted }: ResumeState): Resumption => {
    // Spread from 0 on, because one cause may have ended the streams of a whole fleet.
    const spread = isHealthy ? 'full' : policy.jitter;
    const backoff = isHealthy && call.aged === true ? 0 : backoffMs(policy, waits, random, spread);
    const delayMs = Math.max(backoff, leastWaitMs(failure));
    return { action: 'resume', delayMs, because, state: { ...counted, waits: isHealthy ? 0 : waits + 1 } };
  };
  if (failure === undefined) return resume('ended', state);
  const kind = failureKind(failure);
  if (kind === 'shut') return fail('shut');
  if (call.asked === 'complete') return { action: 'complete', because: 'asked' };
  if (call.asked === 'fail') return fail('asked');
  // Not even onError can resume these: a stream that was cancelled would start again without end.
  if (kind === 'over') return fail('over');
  if (call.asked !== 'resume') {
    if (kind !== 'lost' && kind !== 'server') return fail(kind);
    if (failure.pushback.kind === 'stop') return fail('pushback');
  }
  const failed = {
    attempts: state.attempts + (isReset ? 0 : 1),
    serverFailures: state.serverFailures + (isServerMade(failure) && !isHealthy ? 1 : 0),
    waits: state.waits,
  };
  if (failed.serverFailures >= MAX_SERVER_FAILURES) return fail('poison');
  if (failed.attempts >= policy.maxAttempts) return fail('attempts-exhausted');
  return resume(kind === 'lost' || kind === 'server' ? kind : 'asked', failed);
}

/** As long as the server, a breaker or the state of the channel say that it makes no sense. */
function leastWaitMs(failure: StreamFailure | undefined): number {
  if (failure === undefined) return 0;
  const { pushback, retryAfterMs = 0 } = failure;
  return Math.max(pushback.kind === 'delay' ? pushback.ms : 0, retryAfterMs);
}

// What breaks the rules of gRPC came from the server too, and comes again with the same message. UNAVAILABLE says that the same may
// succeed later; a proxy says it for as long as what is behind it is away.
function isServerMade({ reason, code }: StreamFailure): boolean {
  return reason === 'protocol' || (reason === 'server' && code !== StatusCode.UNAVAILABLE);
}

function fail(because: Extract<ResumeDecision, { action: 'fail' }>['because']): ResumeDecision {
  return { action: 'fail', because };
}
