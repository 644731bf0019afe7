import type { NotRetriedReason } from '../../errors/grpc-call-error.js';
import { StatusCode } from '../../status/status-code.js';
import { CALM_BACKOFF_MS, MAX_UNSENT } from '../retry/decide-retry.js';
import type { LostConnection, Verdict } from '../evidence/classify.js';
import type { Pushback } from '../pushback/parse-pushback.js';
import type { RetryBudget } from '../throttling/default-budget.js';
import type { HedgingPolicy } from '../retry/retry-policy.js';

/** Reason why no further attempt of a hedged call is sent. */
export type NoHedgeReason =
  | 'attempts-exhausted'
  | 'pushback'
  | 'throttled'
  /** The circuit of the method opened during the call. */
  | 'circuit-open'
  /** An attempt failed locally, for example because of its metadata or an interceptor. */
  | 'local'
  /** The hedge budget is exhausted. */
  | 'hedge-budget'
  /** The attempt would be sent after the deadline. */
  | 'deadline'
  | 'draining'
  /** The call serves an inbound retry. */
  | 'retry-chain';

/** Times are monotonic milliseconds. */
export interface HedgeState {
  readonly sent: number;
  readonly inFlight: number;
  /** Time at which the next attempt is due; Infinity if there is none. */
  readonly dueAt: number;
  /** Earliest time for the next attempt, set by pushback or backoff; −Infinity if there is none. */
  readonly notBefore: number;
  /** True if the next attempt replaces a failed one; false if it is sent because the attempts in flight are slow. */
  readonly replaces: boolean;
  /**
   * Connection that the replaced attempt lost, or that had received GOAWAY; `undefined` if that attempt failed for another reason, or if
   * the next attempt replaces none.
   */
  readonly lostWith: LostConnection | undefined;
  readonly stopped: NoHedgeReason | undefined;
  /** Number of attempts that were never sent. */
  readonly unsent: number;
  /** True if the call has used its one transparent retry (gRFC A6). */
  readonly resent: boolean;
}

/** State of a call before its first attempt. */
export const UNSENT: HedgeState = {
  sent: 0,
  inFlight: 0,
  dueAt: -Infinity,
  notBefore: -Infinity,
  replaces: false,
  lostWith: undefined,
  stopped: undefined,
  unsent: 0,
  resent: false,
};

/** Limits that are checked before another attempt is sent. */
export interface HedgeGates {
  readonly policy: HedgingPolicy;
  /** Retry budget of the channel; throttles hedges in the same way as retries. */
  readonly retries: Pick<RetryBudget, 'onFailure' | 'tryRetry'>;
  readonly hedges: Pick<HedgeBudget, 'allows' | 'onHedge'>;
  /** Time until the deadline of the call in milliseconds; Infinity if it has none. */
  readonly remainingMs: number;
  /** True while the client is draining. Slow attempts are not hedged then; failed attempts are still replaced if no hedge was rejected. */
  readonly draining: boolean;
  /** True if the call serves an inbound retry. An attempt that may have reached a server is then not replaced. */
  readonly inRetryChain?: boolean;
  /** True if a stream reset with REFUSED_STREAM is treated as not processed by the server. @defaultValue false */
  readonly trustRefused?: boolean;
}

/** Event of a hedged call. Times are monotonic milliseconds. */
export type HedgeEvent =
  /** `state.dueAt` was reached. The first attempt is due immediately. */
  | { readonly type: 'due'; readonly at: number }
  | {
      readonly type: 'ended';
      readonly at: number;
      readonly verdict: Verdict;
      readonly pushback: Pushback;
      /** Connection that the attempt lost, or that had received GOAWAY; `undefined` if the attempt failed for another reason. */
      readonly lostWith: LostConnection | undefined;
      /** True if part of this attempt's response was delivered to the caller. */
      readonly delivered: boolean;
    };

type EndedEvent = Extract<HedgeEvent, { type: 'ended' }>;

/** Next action of a hedged call. Unless the call ends ('win' or 'fail'), the next 'due' event is expected at `state.dueAt`. */
export interface HedgeDecision {
  readonly state: HedgeState;
  /**
   * 'send': send another attempt now. 'resend': send the ended attempt again, without counting it again. 'wait': wait for the attempts in
   * flight or for `dueAt`. 'win': the ended attempt succeeded; cancel the others. 'fail': the call ends with the status of the
   * attempt that ended last; cancel the others.
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
 * Decides the next action of a hedged call when an attempt is due or has ended, and debits the budgets
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#hedging-policy). The caller of this function credits successes, once
 * per call.
 *
 * As gRFC A6 specifies, the retry budget limits all attempts after the first. Attempts that are sent again ('resend') are exempt. gRFC A6
 * does not specify the following. The hedge budget also limits attempts that are sent because others are slow, but not those that replace
 * failed attempts. If an attempt is not permitted when it is due, the call sends no further attempt and continues with the attempts in
 * flight.
 */
export function decideHedge(state: HedgeState, event: HedgeEvent, gates: HedgeGates): HedgeDecision {
  return event.type === 'due' ? decideDue(state, event.at, gates) : decideEnded(state, event, gates);
}

function decideDue(state: HedgeState, at: number, gates: HedgeGates): HedgeDecision {
  // gRFC A6: the first attempt is always sent.
  if (state.sent === 0) return send(state, at, gates, 'first');
  if (state.stopped !== undefined) return stop(state, state.stopped);
  if (at < state.dueAt) return { state, action: 'wait', because: 'not-yet' };
  const isSlow = !state.replaces;
  if (gates.draining && isSlow) return stop(state, 'draining');
  if (gates.remainingMs <= 0) return stop(state, 'deadline');
  if (isSlow && !gates.hedges.allows) return stop(state, 'hedge-budget');
  // Checked last because it takes a token, which must not be spent on a hedge that another check rejects.
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

function decideEnded(before: HedgeState, event: EndedEvent, gates: HedgeGates): HedgeDecision {
  const { verdict, pushback } = event;
  const state = { ...before, inFlight: before.inFlight - 1 };
  if (verdict.kind === 'ok') return { state, action: 'win', because: 'success' };
  if (verdict.kind === 'unsent') return decideUnsent(state);
  if (isTransparent(state, event, gates)) return resend({ ...state, resent: true }, 'refused');
  if (verdict.kind === 'overloaded') return stop(state, 'pushback');
  const isNonFatal = isNonFatalFailure(event, gates.policy);
  // As in `decideRetry`, every non-fatal failure debits the budget, and so does a pushback that stops retries, for any code.
  if (isNonFatal || pushback.kind === 'stop') gates.retries.onFailure();
  if (!isNonFatal) return { state, action: 'fail', because: 'fatal-status' };
  if (state.stopped !== undefined) return stop(state, state.stopped);
  if (gates.inRetryChain === true && verdict.reachedServer !== 'no') return stop(state, 'retry-chain');
  if (pushback.kind === 'stop') return stop(state, 'pushback');
  if (pushback.kind === 'delay') return replace(state, event, pushback.ms, gates);
  if (verdict.overloaded === true) return replace(state, event, CALM_BACKOFF_MS, gates);
  return replace(state, event, 0, gates);
}

/**
 * Handles an attempt that was never sent and does not count. If no other attempt is in flight, the client tries to send it again. The call
 * fails instead if it has had more than `MAX_UNSENT` such attempts.
 */
function decideUnsent(before: HedgeState): HedgeDecision {
  const state = { ...before, unsent: before.unsent + 1 };
  if (state.inFlight > 0) return { state: { ...state, ...uncountLast(state) }, action: 'wait', because: 'in-flight' };
  if (state.unsent > MAX_UNSENT) return { state, action: 'fail', because: 'attempts-exhausted' };
  return resend(state, 'unsent');
}

/** Uncounts an attempt that was never sent, so that another attempt can still be replaced if it fails. Returns the changed fields. */
export function uncountLast({ sent, stopped }: HedgeState): Pick<HedgeState, 'sent' | 'stopped'> {
  return { sent: sent - 1, stopped: stopped === 'attempts-exhausted' ? undefined : stopped };
}

/** Sends the same attempt again. Does not change whether or when the next hedge is due. */
function resend(state: HedgeState, because: 'unsent' | 'refused'): HedgeDecision {
  return { state: { ...state, inFlight: state.inFlight + 1 }, action: 'resend', because };
}

/** True if the attempt qualifies for the one transparent retry of gRFC A6: the server did not process its stream. */
function isTransparent({ resent }: HedgeState, { verdict }: EndedEvent, { trustRefused = false }: HedgeGates): boolean {
  return !resent && verdict.kind === 'refused' && (verdict.reachedServer === 'no' || trustRefused);
}

/** Replaces a failed attempt after `delayMs`, or at the later time that an earlier pushback or backoff set. */
function replace(state: HedgeState, { at, lostWith }: EndedEvent, delayMs: number, gates: HedgeGates): HedgeDecision {
  const dueAt = Math.max(at + delayMs, state.notBefore);
  const replacing = { ...state, dueAt, notBefore: dueAt, replaces: true, lostWith };
  if (dueAt - at >= gates.remainingMs) return stop(replacing, 'deadline');
  return decideDue(replacing, at, gates);
}

function stop(state: HedgeState, because: NoHedgeReason): HedgeDecision {
  const stopped = { ...state, dueAt: Infinity, stopped: because };
  return { state: stopped, action: stopped.inFlight > 0 ? 'wait' : 'fail', because };
}

/**
 * True if the other attempts continue after this failure: a listed code, a transient HTTP error if UNAVAILABLE is listed, or a local
 * timeout without a response. After headers or messages, a listed code counts only if the connection or the stream was lost and nothing was
 * delivered.
 */
function isNonFatalFailure(event: EndedEvent, policy: HedgingPolicy): boolean {
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
    case 'overloaded':
      return false;
  }
}

/** True if the service config lists the code that grpc-js reports or the code that replaces it. */
function isListed({ code, originalCode }: EndedEvent['verdict'], { nonFatalStatusCodes }: HedgingPolicy): boolean {
  return nonFatalStatusCodes.has(code) || (originalCode !== undefined && nonFatalStatusCodes.has(originalCode));
}

/** Returns the reason to report for a failed attempt of a hedged call that continues after the decision `because`. */
export function continuedBecause(because: HedgeDecision['because']): NotRetriedReason | 'replaces-failed' {
  return because === 'replaces-failed' || because === 'not-yet' ? 'replaces-failed' : notHedgedBecause(because);
}

/** Maps the `because` of the decision that ended a hedged call to the reason why no further attempt followed. */
export function notHedgedBecause(because: HedgeDecision['because']): NotRetriedReason {
  switch (because) {
    case 'first':
    case 'slow':
    case 'replaces-failed':
    case 'success':
    case 'unsent':
    case 'in-flight':
    case 'not-yet':
      return 'attempts-exhausted';
    default:
      return because;
  }
}

/** Hedge budget: hedges for 5% of calls, plus five hedges. */
const HEDGE_BUDGET = {
  /** Tokens added per call: the maximum number of hedges per call in the long run. */
  perCall: 0.05,
  /** Maximum and initial number of tokens, so that even a client with few calls can hedge. */
  maxTokens: 5,
};

/** Limits hedges to a share of calls. A retry throttle counts failures only, so it would not limit hedges of slow calls. */
export class HedgeBudget {
  readonly maxTokens = HEDGE_BUDGET.maxTokens;
  tokens = HEDGE_BUDGET.maxTokens;

  /** Credits a call that may be hedged. Must be invoked once per call. */
  onCall(): void {
    // Rounded to thousandths, so that twenty times 0.05 is exactly one token.
    const credited = Math.round((this.tokens + HEDGE_BUDGET.perCall) * 1_000) / 1_000;
    this.tokens = Math.min(credited, this.maxTokens);
  }

  get allows(): boolean {
    return this.tokens >= 1;
  }

  /** Debits a hedge. Must be invoked only if `allows` is true. */
  onHedge(): void {
    this.tokens -= 1;
  }
}
