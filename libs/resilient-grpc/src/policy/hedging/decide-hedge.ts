import { StatusCode } from '../../status/status-code.js';
import { CALM_BACKOFF_MS, MAX_UNSENT } from '../retry/decide-retry.js';
import type { LostConnection } from '../evidence/lost-connection.js';
import type { Verdict } from '../evidence/verdict.js';
import type { Pushback } from '../pushback/parse-pushback.js';
import type { RetryBudget } from '../throttling/retry-budget.js';
import type { HedgeBudget } from './hedge-budget.js';
import type { HedgeState, NoHedgeReason } from './hedge-state.js';
import type { HedgingPolicy } from './hedging-policy.js';

/** What is asked before a further attempt is sent. */
export interface HedgeGates {
  readonly policy: HedgingPolicy;
  /** Of the channel: throttles hedges as it does retries. */
  readonly retries: Pick<RetryBudget, 'onFailure' | 'tryRetry'>;
  readonly hedges: Pick<HedgeBudget, 'allows' | 'onHedge'>;
  /** To the deadline of the call; Infinity without one. */
  readonly remainingMs: number;
  /** Nothing is sent because others are slow; what failed may still be replaced. */
  readonly draining: boolean;
  /** The call serves a retry: what may have reached a server is not sent again. */
  readonly inRetryChain?: boolean;
  /** A stream that the server reset with REFUSED_STREAM is taken for one that it did not process. @defaultValue false */
  readonly trustRefused?: boolean;
}

/** What a hedged call sees. Times are monotonic milliseconds. */
export type HedgeEvent =
  /** The time of `state.dueAt` has come; the first attempt is due at once. */
  | { readonly type: 'due'; readonly at: number }
  /** One of its attempts ended. */
  | {
      readonly type: 'ended';
      readonly at: number;
      readonly verdict: Pick<
        Verdict,
        'kind' | 'code' | 'originalCode' | 'connectionLost' | 'overloaded' | 'reachedServer' | 'retryableHttp'
      >;
      readonly pushback: Pushback;
      /** `undefined` if the attempt failed for another reason. */
      readonly lostWith: LostConnection | undefined;
      /** Something of this attempt's answer is in the caller's hands already. */
      readonly delivered: boolean;
    };

type EndedEvent = Extract<HedgeEvent, { type: 'ended' }>;

/** What a hedged call does next. Whatever it is, `state.dueAt` says when to come back ('due'). */
export interface HedgeDecision {
  readonly state: HedgeState;
  /**
   * 'send': one more attempt, now. 'resend': the attempt that ended does not count; send it again. 'wait': for those in flight, or for
   * `dueAt`. 'win': the attempt that ended is the answer; cancel all others. 'fail': it is how the call ends; cancel all others.
   */
  readonly action: 'send' | 'resend' | 'wait' | 'win' | 'fail';
  readonly because:
    | 'first'
    | 'slow'
    | 'replaces-failed'
    | 'success'
    | 'fatal-status'
    | 'unsent'
    | 'refused'
    | 'in-flight'
    | 'not-yet'
    | NoHedgeReason;
}

/**
 * Decides what follows when a hedge is due or an attempt of a hedged call ended, and takes from the budgets what that costs
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#hedging-policy). A success is credited by the owner of
 * the call, once a call.
 *
 * Ours, where A6 is silent: what stands in for a failed attempt is bounded by the retry budget alone, what is sent because
 * others are slow by the hedge budget too. Once refused, a call is not hedged again: it goes on with what is in flight.
 */
export function decideHedge(state: HedgeState, event: HedgeEvent, gates: HedgeGates): HedgeDecision {
  return event.type === 'due' ? due(state, event.at, gates) : ended(state, event, gates);
}

function due(state: HedgeState, at: number, gates: HedgeGates): HedgeDecision {
  // A6: the first attempt is always sent.
  if (state.sent === 0) return send(state, at, gates, 'first');
  if (state.stopped !== undefined) return stop(state, state.stopped);
  if (at < state.dueAt) return { state, action: 'wait', because: 'not-yet' };
  const isSlow = !state.replaces;
  if (gates.draining && isSlow) return stop(state, 'draining');
  if (gates.remainingMs <= 0) return stop(state, 'deadline');
  if (isSlow && !gates.hedges.allows) return stop(state, 'hedge-budget');
  // Last, as it takes a token: none is spent on a hedge that something else forbids.
  if (!gates.retries.tryRetry(at, state.lostWith)) return stop(state, 'throttled');
  if (isSlow) gates.hedges.onHedge();
  return send(state, at, gates, isSlow ? 'slow' : 'replaces-failed');
}

function send(state: HedgeState, at: number, gates: HedgeGates, because: HedgeDecision['because']): HedgeDecision {
  const { policy } = gates;
  const sent = state.sent + 1;
  const isLast = sent >= policy.maxAttempts;
  return {
    state: {
      ...state,
      sent,
      inFlight: state.inFlight + 1,
      dueAt: isLast ? Infinity : Math.max(at + policy.hedgingDelayMs, state.notBefore),
      replaces: false,
      lostWith: undefined,
      stopped: isLast ? 'attempts-exhausted' : undefined,
    },
    action: 'send',
    because,
  };
}

function ended(before: HedgeState, event: EndedEvent, gates: HedgeGates): HedgeDecision {
  const { verdict, pushback } = event;
  const state = { ...before, inFlight: before.inFlight - 1 };
  if (verdict.kind === 'ok') return { state, action: 'win', because: 'success' };
  if (verdict.kind === 'unsent') return unsent(state);
  if (isTransparent(state, event, gates)) return resend({ ...state, resent: true }, 'refused');
  const isNonFatal = nonFatal(event, gates.policy);
  // As for retries: a pushback that stops costs whatever the code, a failure that is to be sent again costs too.
  if (isNonFatal || pushback.kind === 'stop') gates.retries.onFailure();
  if (!isNonFatal) return { state, action: 'fail', because: 'fatal-status' };
  if (state.stopped !== undefined) return stop(state, state.stopped);
  if (gates.inRetryChain === true && verdict.reachedServer !== 'no') return stop(state, 'retry-chain');
  if (pushback.kind === 'stop') return stop(state, 'pushback');
  if (pushback.kind === 'delay') return replace(state, event, pushback.ms, gates);
  if (verdict.overloaded === true) return replace(state, event, CALM_BACKOFF_MS, gates);
  return replace(state, event, 0, gates);
}

/** Nothing left this process, so it was no attempt. If it was the last one in flight the call waits for the channel. */
function unsent(before: HedgeState): HedgeDecision {
  const state = { ...before, unsent: before.unsent + 1 };
  if (state.inFlight > 0) return { state: { ...state, sent: state.sent - 1 }, action: 'wait', because: 'in-flight' };
  if (state.unsent > MAX_UNSENT) return { state, action: 'fail', because: 'attempts-exhausted' };
  return resend(state, 'unsent');
}

/** The same attempt once more: when the next hedge is due, and whether there is one, stays as it was. */
function resend(state: HedgeState, because: 'unsent' | 'refused'): HedgeDecision {
  return { state: { ...state, inFlight: state.inFlight + 1 }, action: 'resend', because };
}

/** gRFC A6 resends a call once if the server did not process its stream. */
function isTransparent({ resent }: HedgeState, { verdict }: EndedEvent, { trustRefused = false }: HedgeGates): boolean {
  return !resent && verdict.kind === 'refused' && (verdict.reachedServer === 'no' || trustRefused);
}

/** The next attempt takes its place, exactly `delayMs` from now or at the later time that a server named before. */
function replace(state: HedgeState, { at, lostWith }: EndedEvent, delayMs: number, gates: HedgeGates): HedgeDecision {
  const dueAt = Math.max(at + delayMs, state.notBefore);
  const replacing = { ...state, dueAt, notBefore: dueAt, replaces: true, lostWith };
  if (dueAt - at >= gates.remainingMs) return stop(replacing, 'deadline');
  return due(replacing, at, gates);
}

function stop(state: HedgeState, because: NoHedgeReason): HedgeDecision {
  const stopped = { ...state, dueAt: Infinity, stopped: because };
  return { state: stopped, action: stopped.inFlight > 0 ? 'wait' : 'fail', because };
}

/** Whether the other attempts go on after this failure: a listed code, or what the server's application never saw. */
function nonFatal(event: EndedEvent, policy: HedgingPolicy): boolean {
  const { verdict } = event;
  switch (verdict.kind) {
    case 'attempt-timeout':
    case 'stream-idle':
      return verdict.reachedServer !== 'yes';
    case 'http':
      return verdict.retryableHttp && policy.nonFatalStatusCodes.has(StatusCode.UNAVAILABLE);
    case 'committed':
      return verdict.connectionLost && !event.delivered && isListed(verdict, policy);
    case 'connection-lost':
    case 'refused':
    case 'server':
      return isListed(verdict, policy);
    case 'ok':
    case 'unsent':
    case 'local':
    case 'serialize':
    case 'deadline':
    case 'cancelled':
    case 'protocol':
      return false;
  }
}

/** A service config may list the code that grpc-js reports as well as the one that replaces it. */
function isListed({ code, originalCode }: EndedEvent['verdict'], { nonFatalStatusCodes }: HedgingPolicy): boolean {
  return nonFatalStatusCodes.has(code) || (originalCode !== undefined && nonFatalStatusCodes.has(originalCode));
}
