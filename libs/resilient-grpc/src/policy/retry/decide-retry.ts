import type { RetryRefusal } from '../../errors/grpc-call-error.js';
import { StatusCode } from '../../status/status-code.js';
import { jitter, type Random } from '../../time/random.js';
import type { LostConnection, Verdict } from '../evidence/classify.js';
import type { Pushback } from '../pushback/parse-pushback.js';
import { MAX_REQUESTED_DELAY_MS } from '../resume/decide-resume.js';
import type { RetryBudget } from '../throttling/default-budget.js';
import { backoffMs, DEFAULT_RETRY_POLICY, type RetryPolicy } from './retry-policy.js';

/** Reason for another attempt after a backoff. */
export type RetryReason =
  | 'refused'
  | 'connection-lost'
  | 'retryable-status'
  | 'retryable-http'
  | 'attempt-timeout'
  | 'stream-idle'
  | 'credentials'
  /** The server set the delay. Resets `retriesSincePushback` to 0. */
  | 'pushback';

export type NoRetryReason = 'success' | Exclude<RetryRefusal, 'hedge-budget'>;

/** Decision to retry a call or to end it after an attempt, with the reason. */
export type RetryDecision =
  /**
   * The server's application did not receive the call, so the call waits for the channel. The wait does not count as an attempt (gRFC A6,
   * "Transparent Retries").
   */
  | {
      readonly retry: true;
      readonly kind: 'wait';
      readonly delayMs: number;
      readonly because: 'unsent' | 'refused';
    }
  /** Another attempt follows after a backoff. */
  | { readonly retry: true; readonly kind: 'policy'; readonly delayMs: number; readonly because: RetryReason }
  | { readonly retry: false; readonly because: NoRetryReason };

export interface RetryInput {
  readonly verdict: Verdict;
  readonly pushback: Pushback;
  /** Retry policy of the method; `undefined` if the method is not safe to retry. */
  readonly policy: RetryPolicy | undefined;
  /** Attempts made so far, including this one; waits for the channel do not count. */
  readonly attempts: number;
  readonly retriesSincePushback: number;
  /** True if part of the response may have been delivered: the headers of a response stream, or headers that the caller requested. */
  readonly delivered: boolean;
  /** Number of attempts of this call that were never sent, including this one if it was not sent. @defaultValue 0 */
  readonly unsent?: number;
  /** True if the call has not used its one transparent retry (gRFC A6). */
  readonly transparentLeft?: boolean | undefined;
  /** True if a stream reset with REFUSED_STREAM is treated as not processed by the server. @defaultValue false */
  readonly trustRefused?: boolean | undefined;
  /** True if the whole request can be sent again. */
  readonly requestReplayable: boolean;
  /** Time until the deadline of the call; Infinity if it has none. */
  readonly remainingMs: number;
  readonly draining: boolean;
  /** Time until the end of a drain, when open calls are cancelled. @defaultValue Infinity */
  readonly drainMs?: number;
  /** True if the call serves an inbound retry. An attempt that may have reached the server is then not retried. @defaultValue false */
  readonly inRetryChain?: boolean | undefined;
  /** True if the call is part of a resumable stream. @defaultValue false */
  readonly isPartOfStream?: boolean | undefined;
  readonly disabled: boolean;
  readonly budget: RetryBudget;
  /** Monotonic milliseconds. */
  readonly now: number;
  /** Connection that the attempt lost, or that had received GOAWAY; `undefined` if the attempt failed for another reason. */
  readonly lostWith: LostConnection | undefined;
  readonly random: Random;
}

// Created once, so that a successful call allocates nothing.
const SUCCESS = stop('success');
const WAIT: RetryDecision = { retry: true, kind: 'wait', delayMs: 0, because: 'unsent' };
/** Transparent retry (gRFC A6). */
const RESEND: RetryDecision = { retry: true, kind: 'wait', delayMs: 0, because: 'refused' };

/** Maximum number of times that an unsent call waits for the channel. More waits would hide another fault. */
export const MAX_UNSENT = 10;
/** Minimum backoff in milliseconds after the server reset a stream with ENHANCE_YOUR_CALM. Retries jitter it by ±20%. */
export const CALM_BACKOFF_MS = 1_000;

/**
 * Decides whether a call is retried after an attempt, and debits the retry budget. The caller of this function credits successes, once per
 * call.
 *
 * Checks with observable effects run in the same order as in grpc-go. A pushback that stops retries debits the budget for any code, except
 * after an overload refusal. A retryable code debits the budget before the limit of attempts is checked. The last failure of a call that
 * has no attempts left therefore also debits the budget. A call that ends as 'committed', 'disabled', or 'request-not-replayable' debits
 * nothing.
 */
export function decideRetry(input: RetryInput): RetryDecision {
  const { verdict } = input;
  switch (verdict.kind) {
    case 'ok':
      return SUCCESS;
    case 'cancelled':
      return stop('cancelled');
    case 'deadline':
      return stop('deadline');
    case 'committed':
      // gRFC A6 commits a call at the headers because the application receives them. Here, a unary or client-streaming call delivers
      // nothing before its status, except headers that the caller requested. A call that loses its connection before anything is delivered
      // is therefore retried like any other call.
      return verdict.connectionLost && !input.delivered ? byPolicy(input, 'connection-lost') : stop('committed');
    case 'protocol':
      return stop('protocol');
    case 'serialize':
      return stop('local');
    case 'overloaded':
      // Nothing is debited, because no retry follows, and a debit would prevent retries of other calls.
      return stop('pushback');
    case 'unsent':
      return (input.unsent ?? 0) > MAX_UNSENT ? stop('attempts-exhausted') : wait(input, WAIT);
    case 'local':
      // gRFC A54: the policy applies to failed call credentials. Every other local failure would repeat.
      if (verdict.credentialsFailed !== true || !lists(input.policy, verdict.code)) return stop('local');
      return decideFurtherAttempt(input, input.policy ?? DEFAULT_RETRY_POLICY, 'credentials');
    case 'refused':
      return decideRejected(input);
    case 'attempt-timeout':
      return verdict.reachedServer === 'yes' ? stop('committed') : byPolicy(input, 'attempt-timeout');
    case 'stream-idle':
      return verdict.reachedServer === 'yes' ? stop('committed') : byPolicy(input, 'stream-idle');
    case 'connection-lost':
      return byPolicy(input, 'connection-lost');
    case 'http':
      return byPolicy(input, 'retryable-http');
    case 'server':
      return byPolicy(input, 'retryable-status');
  }
}

/** Returns `decision` if the call can wait for the channel. A wait is not an attempt, takes no token, and ignores `retry: false`. */
function wait(input: RetryInput, decision: RetryDecision): RetryDecision {
  if (!input.requestReplayable) return stop('request-not-replayable');
  if (input.draining) return stop('draining');
  if (input.remainingMs <= 0) return stop('deadline');
  return decision;
}

/** Applies gRFC A6: one transparent retry, then the method's policy. Unprocessed calls without a policy use the default policy. */
function decideRejected(input: RetryInput): RetryDecision {
  const { verdict, policy } = input;
  const neverProcessed = verdict.reachedServer === 'no';
  if (input.transparentLeft === true && (neverProcessed || input.trustRefused === true)) return wait(input, RESEND);
  if (!neverProcessed || policy !== undefined) return byPolicy(input, 'refused');
  return decideFurtherAttempt(input, DEFAULT_RETRY_POLICY, 'refused');
}

function byPolicy(input: RetryInput, because: RetryReason): RetryDecision {
  const { verdict, pushback, policy } = input;
  if (input.disabled) return stop('disabled');
  if (pushback.kind === 'stop' && input.requestReplayable) return stoppedByPushback(input);
  // If the method has no policy, the default policy determines whether the code or the method is the reason to report.
  if (!isRetryable(verdict, policy ?? DEFAULT_RETRY_POLICY)) return stop('fatal-status');
  if (!policy) return stop('not-safe-to-repeat');
  return decideFurtherAttempt(input, policy, because);
}

function isRetryable(verdict: Verdict, policy: RetryPolicy): boolean {
  switch (verdict.kind) {
    case 'attempt-timeout':
      // `attemptTimeoutMs` implies a retry. Listing DEADLINE_EXCEEDED instead would also match the server's own status.
      return true;
    case 'http':
      return verdict.retryableHttp && lists(policy, StatusCode.UNAVAILABLE);
    default:
      // A service config may list either the code that grpc-js reports or the code that replaces it.
      return lists(policy, verdict.code) || lists(policy, verdict.originalCode);
  }
}

function decideFurtherAttempt(input: RetryInput, policy: RetryPolicy, because: RetryReason): RetryDecision {
  const { verdict, pushback, budget, now } = input;
  if (input.disabled) return stop('disabled');
  if (!input.requestReplayable) return stop('request-not-replayable');
  if (pushback.kind === 'stop') return stoppedByPushback(input);
  budget.onFailure();
  if (input.attempts >= policy.maxAttempts) return stop('attempts-exhausted');
  // The inbound caller is already retrying, and retries in several layers multiply.
  if (input.inRetryChain === true && verdict.reachedServer !== 'no') return stop('retry-chain');
  if (input.draining) return stop('draining');
  // If the requested delay exceeds the maximum, a resumable stream does not retry its call. It waits for the maximum delay, and resumes
  // with another call.
  if (input.isPartOfStream === true && pushback.kind === 'delay' && pushback.ms > MAX_REQUESTED_DELAY_MS)
    return stop('pushback');
  const delayMs = pushback.kind === 'delay' ? pushback.ms : ownDelayMs(input, policy);
  if (delayMs >= input.remainingMs) return stop('deadline');
  // The drain would cancel this retry, so the retry would only delay the shutdown.
  if (delayMs >= (input.drainMs ?? Infinity)) return stop('draining');
  // Checked last because it takes a token, which must not be spent on a retry that another check rejects.
  if (!budget.tryRetry(now, input.lostWith)) return stop('throttled');
  return {
    retry: true,
    kind: 'policy',
    delayMs,
    because: pushback.kind === 'delay' ? 'pushback' : because,
  };
}

function stoppedByPushback(input: RetryInput): RetryDecision {
  input.budget.onFailure();
  return stop('pushback');
}

function ownDelayMs({ verdict, retriesSincePushback, random }: RetryInput, policy: RetryPolicy): number {
  const delayMs = backoffMs(policy, retriesSincePushback, random);
  return verdict.overloaded === true ? Math.max(delayMs, jitter(CALM_BACKOFF_MS, 0.2, random)) : delayMs;
}

function lists(policy: RetryPolicy | undefined, code: StatusCode | undefined): boolean {
  return code !== undefined && (policy?.retryableStatusCodes.has(code) ?? false);
}

function stop(because: NoRetryReason): RetryDecision {
  return { retry: false, because };
}

/**
 * Metadata key of calls that a handler makes while it serves a retry. Retries in several layers multiply: three layers of four attempts
 * turn one call into 64. Therefore, while a handler serves a retry, its calls are retried only if they did not reach the server.
 */
export const RETRY_CHAIN_KEY = 'x-retry-chain';

/** Value of `x-retry-chain` on a hedged attempt that is sent because other attempts are slow. */
export const HEDGE_MARK = 'hedge';

/** Time in milliseconds after the start of a retried stream during which its handler's calls count as part of the retry. */
const STREAM_CHAIN_MS = 10_000;

/** Metadata key for the number of previous attempts (gRFC A6). */
export const PREVIOUS_ATTEMPTS = 'grpc-previous-rpc-attempts';

/** True if a call with these values of `grpc-previous-rpc-attempts` and `x-retry-chain` is a retry or serves one. */
export function isRetry(previousAttempts: string | undefined, mark: string | undefined): boolean {
  if (mark === HEDGE_MARK) return false;
  return mark !== undefined || Number(previousAttempts ?? 0) > 0;
}

/** True if calls made at `now` (monotonic milliseconds) for an inbound call must not be retried once they may have reached a server. */
export function stopsRetries(
  inbound: { readonly retry: boolean; readonly streaming: boolean; readonly startedAt: number },
  now: number,
): boolean {
  return inbound.retry && (!inbound.streaming || now - inbound.startedAt < STREAM_CHAIN_MS);
}
