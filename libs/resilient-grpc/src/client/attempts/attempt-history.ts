import type { NotRetriedReason, AttemptRecord } from '../../errors/grpc-call-error.js';
import type { AttemptEnd } from '../../call/attempt.js';
import { remainingMs } from '../../policy/deadline/deadline.js';
import { classify, type LostConnection, type Verdict } from '../../policy/evidence/classify.js';
import { NO_PUSHBACK, parsePushback, PUSHBACK_KEY, type Pushback } from '../../policy/pushback/parse-pushback.js';
import { decideRetry, type RetryDecision } from '../../policy/retry/decide-retry.js';
import { DEFAULT_RETRY_POLICY, type RetryPolicy } from '../../policy/retry/retry-policy.js';
import { OVERLOAD_KEY, OVERLOAD_VALUE } from '../../policy/overload/overload-queue.js';
import { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import type { GrpcCallOptions } from '../resilient-types.js';

const MAX_KEPT_ATTEMPTS = 20;
const REACH_RANK = { no: 0, maybe: 1, yes: 2 } as const;

export interface CallFacts {
  readonly options: GrpcCallOptions | undefined;
  /** Deadline of the call in milliseconds since 1970, or `Infinity`. */
  readonly deadline: number;
  readonly attempts: number;
  readonly requestReplayable: boolean;
  /** True if part of the response was delivered to the caller. */
  readonly delivered: boolean;
  readonly inRetryChain: boolean;
  /** True if the call has a key, and its server runs it once. */
  readonly hasKey: boolean;
  /** True if the call is part of a stream that consists of several calls. */
  readonly isPartOfStream: boolean;
}

export interface Judgment {
  readonly decision:
    Extract<RetryDecision, { retry: true }> | { readonly retry: false; readonly because: NotRetriedReason | 'success' };
  /** Delay that the server requested before the next attempt, in milliseconds. */
  readonly retryAfterMs: number | undefined;
}

/** Results of the attempts of one call. Created at the first failure, or on demand. */
export class AttemptHistory {
  /** The latest attempts, at most 20, oldest first. */
  readonly records: AttemptRecord[] = [];
  reached: Verdict['reachedServer'] = 'no';
  /** Status of the latest failed attempt. It becomes the `cause` of the caller's error if the failure has no other cause. */
  lastStatus: { readonly code: number; readonly details: string } | undefined;
  private retriesSincePushback = 0;
  private transparentLeft = true;
  /** Number of attempts that were never sent. */
  private unsent = 0;

  add(
    number: number,
    end: Pick<AttemptEnd, 'peer'>,
    status: { readonly code: StatusCode; readonly details: string },
    durationMs: number,
    superseded = false,
  ): void {
    const { peer } = end;
    if (this.records.length === MAX_KEPT_ATTEMPTS) this.records.shift();
    const { code, details } = status;
    this.records.push({ number, code, details, ...(peer === undefined ? {} : { peer }), durationMs, superseded });
  }

  /** Decides whether another attempt follows a failed one. */
  judge(context: MethodContext, end: AttemptEnd, verdict: Verdict, facts: CallFacts): Judgment {
    const { clock, registry, budget, random } = context.client;
    this.note(end, verdict);
    if (verdict.kind === 'unsent') this.unsent += 1;
    const pushback = pushbackOf(end);
    const decision = decideRetry({
      ...facts,
      verdict,
      pushback,
      policy: retryPolicy(context, facts),
      retriesSincePushback: this.retriesSincePushback,
      unsent: this.unsent,
      transparentLeft: this.transparentLeft,
      trustRefused: context.client.trustRefusedStreams,
      remainingMs: remainingMs(facts.deadline, clock.epoch()),
      draining: registry.accepting === 'closed',
      drainMs: registry.drainUntil - clock.now(),
      disabled: facts.options?.retry === false,
      budget: budget.current,
      now: clock.now(),
      lostWith: lostConnection(end, verdict),
      random,
    });
    if (verdict.kind === 'refused') this.transparentLeft = false;
    if (decision.retry && decision.kind !== 'wait') {
      this.retriesSincePushback = decision.because === 'pushback' ? 0 : this.retriesSincePushback + 1;
    }
    return { decision, retryAfterMs: pushback.kind === 'delay' ? pushback.ms : undefined };
  }

  /** Records that an attempt failed, and that `decision` follows. `cutOthersOff` is true if others in flight were cancelled. */
  decided(end: AttemptEnd, verdict: Verdict, decision: Judgment['decision'], cutOthersOff = false): Judgment {
    this.note(end, verdict);
    if (cutOthersOff) this.reached = maxReach(this.reached, 'maybe');
    const pushback = pushbackOf(end);
    return { decision, retryAfterMs: pushback.kind === 'delay' ? pushback.ms : undefined };
  }

  /** Updates `reached` and `lastStatus` from a failed attempt. `add` adds the attempt to the records. */
  note(end: AttemptEnd, verdict: Verdict): void {
    this.reached = maxReach(this.reached, verdict.reachedServer);
    this.lastStatus = { code: end.code, details: end.details };
  }
}

/** Returns the higher value in the order 'no', 'maybe', 'yes'. A later attempt never lowers the result of the call. */
export function maxReach(a: Verdict['reachedServer'], b: Verdict['reachedServer']): Verdict['reachedServer'] {
  return REACH_RANK[a] >= REACH_RANK[b] ? a : b;
}

/**
 * Returns the connection whose loss made the attempt fail; `undefined` if it failed for another reason. A GOAWAY counts, too, because a
 * server that is shutting down may fail calls instead of resetting them.
 */
export function lostConnection({ connection, wire }: AttemptEnd, verdict: Verdict): LostConnection | undefined {
  if (connection === undefined || !(verdict.connectionLost || wire?.goawayCode !== undefined)) return undefined;
  return { connection, acceptsNoStreams: wire?.acceptsNoStreams ?? false };
}

export function pushbackOf(end: AttemptEnd): Pushback {
  const values = end.metadata.get(PUSHBACK_KEY);
  return values.length === 0 ? NO_PUSHBACK : parsePushback(values);
}

/**
 * Classifies the end of an attempt. The kind is 'overloaded' if this library's server marked the call as refused because of an overload.
 */
export function verdictOf(end: AttemptEnd): Verdict {
  const verdict = classify(end);
  const isOverload = verdict.kind === 'server' && verdict.reachedServer === 'yes' && isRefusedByOverload(end);
  return isOverload ? { ...verdict, kind: 'overloaded' } : verdict;
}

/** Classifies an attempt that ended with OK but received no message. The status is the same as in grpc-js's own client. */
export function noMessage(end: AttemptEnd): Verdict {
  return { ...verdictOf(end), kind: 'protocol', code: StatusCode.UNIMPLEMENTED, details: 'No message received' };
}

function isRefusedByOverload({ code, metadata }: AttemptEnd): boolean {
  return code === StatusCode.RESOURCE_EXHAUSTED && metadata.get(OVERLOAD_KEY)[0] === OVERLOAD_VALUE;
}

function retryPolicy(context: MethodContext, { options, hasKey }: CallFacts): RetryPolicy | undefined {
  if (!hasKey && !(options?.idempotent ?? context.isSafeToRepeat)) return undefined;
  const { policy, hedging } = context;
  if (hedging === undefined) return policy.retry ?? DEFAULT_RETRY_POLICY;
  // With a hedging policy, only calls that are not hedged get here: the request does not fit in the retry buffers, or `retry` is false.
  // Such a call is retried only if no server application received the attempt. Otherwise, the returned policy determines only the reported
  // reason.
  return { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: hedging.policy.nonFatalStatusCodes };
}
