import { StatusCode } from '../../status/status-code.js';
import { jitter, type Random } from '../../time/random.js';
import { CREDENTIALS_FAILED } from '../evidence/grpc-js-texts.js';
import type { LostConnection } from '../evidence/lost-connection.js';
import type { Verdict } from '../evidence/verdict.js';
import type { Pushback } from '../pushback/parse-pushback.js';
import type { RetryBudget } from '../throttling/retry-budget.js';
import { backoffMs } from './backoff.js';
import type { NoRetryReason, RetryDecision, RetryReason } from './retry-decision.js';
import { DEFAULT_RETRY_POLICY, type RetryPolicy } from './retry-policy.js';

/** What is known when an attempt has ended. */
export interface RetryInput {
  readonly verdict: Verdict;
  readonly pushback: Pushback;
  /** Present exactly when the method is safe to repeat. */
  readonly policy: RetryPolicy | undefined;
  /** Attempts made so far, this one included. Waits are none. */
  readonly attempts: number;
  /** Retries since the last pushback, or since the beginning. */
  readonly retriesSincePushback: number;
  /** Something of the answer is in the caller's hands already: headers he asked for, or messages of a stream. */
  readonly delivered: boolean;
  /** Attempts of this call that were never sent, this one included. @defaultValue 0 */
  readonly unsent?: number;
  /** The one transparent retry of the call has not been used yet (gRFC A6). */
  readonly transparentLeft?: boolean | undefined;
  /** A stream that the server reset with REFUSED_STREAM is taken for one that it did not process. @defaultValue false */
  readonly trustRefused?: boolean | undefined;
  /** The whole request can be sent again. */
  readonly requestReplayable: boolean;
  /** To the deadline of the call; Infinity without one. */
  readonly remainingMs: number;
  readonly draining: boolean;
  /** To the end of a drain, which cuts off what still runs. @defaultValue Infinity */
  readonly drainMs?: number;
  /** The call serves an inbound retry: what may have reached the server is not sent again. @defaultValue false */
  readonly inRetryChain?: boolean | undefined;
  /** The caller said `retry: false`. */
  readonly disabled: boolean;
  readonly budget: RetryBudget;
  /** Monotonic milliseconds. */
  readonly now: number;
  /** `undefined` if the attempt failed for another reason. */
  readonly lostWith: LostConnection | undefined;
  readonly random: Random;
}

// Made once, so that a success allocates nothing.
const STOP = {
  success: stop('success'),
  committed: stop('committed'),
  'fatal-status': stop('fatal-status'),
  'not-safe-to-repeat': stop('not-safe-to-repeat'),
  pushback: stop('pushback'),
  throttled: stop('throttled'),
  'attempts-exhausted': stop('attempts-exhausted'),
  deadline: stop('deadline'),
  'retry-chain': stop('retry-chain'),
  cancelled: stop('cancelled'),
  draining: stop('draining'),
  disabled: stop('disabled'),
  local: stop('local'),
  'request-not-replayable': stop('request-not-replayable'),
  protocol: stop('protocol'),
} satisfies Record<NoRetryReason, RetryDecision>;

const WAIT: RetryDecision = { retry: true, kind: 'wait', delayMs: 0, because: 'unsent' };
/** The one transparent retry. */
const RESEND: RetryDecision = { retry: true, kind: 'wait', delayMs: 0, because: 'refused' };

/** A call that was never sent waits for the channel this many times. More often, something else is wrong. */
export const MAX_UNSENT = 10;
/** Before a server that reset a stream with ENHANCE_YOUR_CALM receives the next attempt, ±20 %. */
export const CALM_BACKOFF_MS = 1_000;

/**
 * Decides whether a call goes on after an attempt, and takes from the budget what that costs. A success is not credited
 * here: the owner of the call does it, once a call.
 *
 * The order of the checks is grpc-go's, where it can be seen: a pushback that stops debits whatever the code; a listed code
 * debits before the attempts are counted, so that the last failure of an exhausted call counts too. What is never sent
 * again for other reasons (committed, disabled, not replayable) debits nothing.
 */
export function decideRetry(input: RetryInput): RetryDecision {
  const { verdict } = input;
  switch (verdict.kind) {
    case 'ok':
      return STOP.success;
    case 'cancelled':
      return STOP.cancelled;
    case 'deadline':
      return STOP.deadline;
    case 'committed':
      // A6 commits with the headers since they are the application's then. Of a call that answers once nothing is, before
      // its status: a connection that breaks off within the answer is lost like any other.
      return verdict.connectionLost && !input.delivered ? byPolicy(input, 'connection-lost') : STOP.committed;
    case 'protocol':
      return STOP.protocol;
    case 'serialize':
      return STOP.local;
    case 'unsent':
      return (input.unsent ?? 0) > MAX_UNSENT ? STOP['attempts-exhausted'] : wait(input, WAIT);
    case 'local':
      // A54: a failure of the credentials goes by the policy, all else made here would only fail again.
      if (!CREDENTIALS_FAILED.test(verdict.details) || !lists(input.policy, verdict.code)) return STOP.local;
      return again(input, input.policy ?? DEFAULT_RETRY_POLICY, 'credentials');
    case 'refused':
      return rejected(input);
    case 'attempt-timeout':
      return verdict.reachedServer === 'yes' ? STOP.committed : byPolicy(input, 'attempt-timeout');
    case 'stream-idle':
      return verdict.reachedServer === 'yes' ? STOP.committed : byPolicy(input, 'stream-idle');
    case 'connection-lost':
      return byPolicy(input, 'connection-lost');
    case 'http':
      return byPolicy(input, 'retryable-http');
    case 'server':
      return byPolicy(input, 'retryable-status');
  }
}

/** The call waits for the channel: no attempt, no cost, and `retry: false` does not forbid it. */
function wait(input: RetryInput, decision: RetryDecision): RetryDecision {
  if (!input.requestReplayable) return STOP['request-not-replayable'];
  if (input.draining) return STOP.draining;
  if (input.remainingMs <= 0) return STOP.deadline;
  return decision;
}

/** gRFC A6: one transparent retry, then the method's policy. Without one the default policy bounds what any method may do. */
function rejected(input: RetryInput): RetryDecision {
  const { verdict, policy } = input;
  const neverProcessed = verdict.reachedServer === 'no';
  if (input.transparentLeft === true && (neverProcessed || input.trustRefused === true)) return wait(input, RESEND);
  if (!neverProcessed || policy !== undefined) return byPolicy(input, 'refused');
  return again(input, DEFAULT_RETRY_POLICY, 'refused');
}

function byPolicy(input: RetryInput, because: RetryReason): RetryDecision {
  const { verdict, pushback, policy } = input;
  if (input.disabled) return STOP.disabled;
  if (pushback.kind === 'stop' && input.requestReplayable) return stoppedByPushback(input);
  // Without a policy the default one tells which reason is the true one: the code, or the method.
  if (!isRetryable(verdict, policy ?? DEFAULT_RETRY_POLICY)) return STOP['fatal-status'];
  if (!policy) return STOP['not-safe-to-repeat'];
  return again(input, policy, because);
}

function isRetryable(verdict: Verdict, policy: RetryPolicy): boolean {
  switch (verdict.kind) {
    case 'attempt-timeout':
      // Whoever bounds an attempt wants the next one, without listing DEADLINE_EXCEEDED, which would also be the server's.
      return true;
    case 'http':
      return verdict.retryableHttp && lists(policy, StatusCode.UNAVAILABLE);
    default:
      // A service config may list the code that grpc-js reports as well as the one that replaces it.
      return lists(policy, verdict.code) || lists(policy, verdict.originalCode);
  }
}

function again(input: RetryInput, policy: RetryPolicy, because: RetryReason): RetryDecision {
  const { verdict, pushback, budget, now } = input;
  if (input.disabled) return STOP.disabled;
  if (!input.requestReplayable) return STOP['request-not-replayable'];
  if (pushback.kind === 'stop') return stoppedByPushback(input);
  budget.onFailure();
  if (input.attempts >= policy.maxAttempts) return STOP['attempts-exhausted'];
  // Layers multiply: whoever asked for this is already asking again.
  if (input.inRetryChain === true && verdict.reachedServer !== 'no') return STOP['retry-chain'];
  if (input.draining) return STOP.draining;
  const delayMs = pushback.kind === 'delay' ? pushback.ms : ownDelayMs(input, policy);
  if (delayMs >= input.remainingMs) return STOP.deadline;
  // It would be cut off, and would hold the drain until then.
  if (delayMs >= (input.drainMs ?? Infinity)) return STOP.draining;
  // Last, as it takes a token: none is spent on a retry that something else forbids.
  if (!budget.tryRetry(now, input.lostWith)) return STOP.throttled;
  return {
    retry: true,
    kind: 'policy',
    delayMs,
    because: pushback.kind === 'delay' ? 'pushback' : because,
  };
}

function stoppedByPushback(input: RetryInput): RetryDecision {
  input.budget.onFailure();
  return STOP.pushback;
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
