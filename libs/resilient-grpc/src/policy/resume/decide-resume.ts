import type { Random } from '../../time/random.js';
import { StatusCode } from '../../status/status-code.js';
import { backoffMs } from '../retry/backoff.js';
import { MAX_SERVER_FAILURES, type ResumePolicy } from './resume-policy.js';
import { failureKind, type FailureKind, type StreamFailure } from './stream-failure.js';

/** What is remembered of the calls of a stream since its last progress. */
export interface ResumeState {
  /** Calls that failed. */
  readonly attempts: number;
  /** Those of them that failed by the server's word. */
  readonly serverFailures: number;
  /** Backoffs that were waited. */
  readonly waits: number;
}

/** A stream that has made progress just now, or begins. */
export const NO_SETBACK: ResumeState = { attempts: 0, serverFailures: 0, waits: 0 };

/** A call of a stream that has ended. */
export interface EndedCall {
  /** undefined: it ended in order, or was left for its age. */
  readonly failure: StreamFailure | undefined;
  /** It brought the stream further: its cursor advanced, or something was acknowledged. */
  readonly progressed: boolean;
  readonly livedMs: number;
  /** What the user says to the failure; undefined: as by default. Not to be asked about one of the kind 'shut'. */
  readonly asked?: 'resume' | 'complete' | 'fail' | undefined;
}

/** What follows a call of a stream. */
export type ResumeDecision =
  | {
      readonly action: 'resume';
      /** 0: at once. */
      readonly delayMs: number;
      readonly because: 'ended' | 'lost' | 'server' | 'asked';
      readonly state: ResumeState;
    }
  | { readonly action: 'complete'; readonly because: 'asked' }
  | {
      readonly action: 'fail';
      readonly because:
        | Exclude<FailureKind, 'lost' | 'server'>
        | 'asked'
        /** The server said not to come again. */
        | 'pushback'
        /** It failed `MAX_SERVER_FAILURES` times at one place. */
        | 'poison'
        | 'attempts-exhausted';
    };

/**
 * Decides whether a stream goes on with another call, and when. Only progress starts backoff and counts afresh; a call that
 * ended in order neither starts them afresh nor counts, but one that lived short is followed by a backoff all the same.
 */
export function decideResume(
  before: ResumeState,
  call: EndedCall,
  policy: ResumePolicy,
  random: Random,
): ResumeDecision {
  const state = call.progressed ? NO_SETBACK : before;
  const { failure } = call;
  if (failure === undefined) return resume(state, 'ended', call, policy, random);
  const kind = failureKind(failure);
  if (kind === 'shut') return fail('shut');
  if (call.asked === 'complete') return { action: 'complete', because: 'asked' };
  if (call.asked === 'fail') return fail('asked');
  // Nobody's word brings back who has left: a stream that was cancelled would come again for ever.
  if (kind === 'over') return fail('over');
  if (call.asked !== 'resume') {
    if (kind !== 'lost' && kind !== 'server') return fail(kind);
    if (failure.pushback.kind === 'stop') return fail('pushback');
  }
  const failed = {
    attempts: state.attempts + (call.progressed ? 0 : 1),
    serverFailures: state.serverFailures + (isServerMade(failure) ? 1 : 0),
    waits: state.waits,
  };
  if (failed.serverFailures >= MAX_SERVER_FAILURES) return fail('poison');
  if (failed.attempts >= policy.maxAttempts) return fail('attempts-exhausted');
  return resume(failed, kind === 'lost' || kind === 'server' ? kind : 'asked', call, policy, random);
}

function resume(
  state: ResumeState,
  because: Extract<ResumeDecision, { action: 'resume' }>['because'],
  call: EndedCall,
  policy: ResumePolicy,
  random: Random,
): ResumeDecision {
  const least = leastWaitMs(call.failure);
  // A quiet feed that is cut now and then has nothing to wait for; a server that fails after a while has.
  const isHealthy =
    call.livedMs >= policy.minHealthyMs && (call.progressed || because === 'ended' || because === 'lost');
  if (isHealthy) return { action: 'resume', delayMs: least, because, state };
  const delayMs = Math.max(backoffMs(policy, state.waits, random, policy.jitter), least);
  return { action: 'resume', delayMs, because, state: { ...state, waits: state.waits + 1 } };
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
