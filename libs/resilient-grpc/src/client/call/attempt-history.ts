import type { AttemptEnd } from '../../call/attempt.js';
import type { AttemptRecord } from '../../errors/attempt-record.js';
import { remainingMs } from '../../policy/deadline/deadline.js';
import type { LostConnection } from '../../policy/evidence/lost-connection.js';
import type { Verdict } from '../../policy/evidence/verdict.js';
import { NO_PUSHBACK, parsePushback, type Pushback } from '../../policy/pushback/parse-pushback.js';
import { decideRetry } from '../../policy/retry/decide-retry.js';
import type { RetryDecision } from '../../policy/retry/retry-decision.js';
import { DEFAULT_RETRY_POLICY, type RetryPolicy } from '../../policy/retry/retry-policy.js';
import type { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import type { GrpcCallOptions } from '../resilient-types.js';

const KEPT = 20;
const PUSHBACK_KEY = 'grpc-retry-pushback-ms';
const RANK = { no: 0, maybe: 1, yes: 2 } as const;

/** What decides over a further attempt, beside the end of the last one. */
export interface CallFacts {
  readonly options: GrpcCallOptions | undefined;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Attempts made, the failed one included. */
  readonly attempts: number;
  readonly requestReplayable: boolean;
  /** Something of the answer is in the caller's hands already. */
  readonly delivered: boolean;
  /** It serves a retry. */
  readonly inRetryChain: boolean;
}

/** What follows a failed attempt. */
export interface Judgement {
  readonly decision: Extract<RetryDecision, { retry: true }> | { readonly retry: false; readonly because: string };
  /** When the server wants to be asked again. */
  readonly retryAfterMs: number | undefined;
}

/** What became of the attempts of one call. Made at the first failure, or when somebody wants to know. */
export class AttemptHistory {
  /** The latest attempts, at most 20, oldest first. */
  readonly records: AttemptRecord[] = [];
  reached: Verdict['reachedServer'] = 'no';
  /** As the transport gave it: the cause of what a caller is told. */
  lastStatus: { readonly code: number; readonly details: string } | undefined;
  private retriesSincePushback = 0;
  private transparentLeft = true;
  /** Attempts that were never sent. */
  private unsent = 0;

  add(
    number: number,
    end: Pick<AttemptEnd, 'peer'>,
    status: { readonly code: StatusCode; readonly details: string },
    durationMs: number,
    hedge = false,
  ): void {
    const { peer } = end;
    if (this.records.length === KEPT) this.records.shift();
    const { code, details } = status;
    this.records.push({ number, code, details, ...(peer === undefined ? {} : { peer }), durationMs, hedge });
  }

  /** All attempts of a hedged call failed, or one in a way that ends it. */
  judgeHedged(
    end: AttemptEnd,
    verdict: Verdict,
    hedged: { readonly because: string; readonly cutOthersOff: boolean },
  ): Judgement {
    this.note(end, verdict);
    if (hedged.cutOthersOff) this.reached = further(this.reached, 'maybe');
    const pushback = pushbackOf(end);
    const decision: Judgement['decision'] = { retry: false, because: hedged.because };
    return { decision, retryAfterMs: pushback.kind === 'delay' ? pushback.ms : undefined };
  }

  /** An attempt failed: whether there is another. */
  judge(context: MethodContext, end: AttemptEnd, verdict: Verdict, facts: CallFacts): Judgement {
    const { clock, registry, budget, random } = context.client;
    this.note(end, verdict);
    if (verdict.kind === 'unsent') this.unsent += 1;
    const pushback = pushbackOf(end);
    const decision = decideRetry({
      verdict,
      pushback,
      policy: retryPolicy(context, facts.options),
      attempts: facts.attempts,
      retriesSincePushback: this.retriesSincePushback,
      unsent: this.unsent,
      transparentLeft: this.transparentLeft,
      trustRefused: context.client.trustRefusedStreams,
      requestReplayable: facts.requestReplayable,
      delivered: facts.delivered,
      inRetryChain: facts.inRetryChain,
      remainingMs: remainingMs(facts.deadline, clock.epoch()),
      draining: registry.accepting === 'closed',
      drainMs: registry.drainUntil - clock.now(),
      disabled: facts.options?.retry === false,
      budget,
      now: clock.now(),
      lostWith: lostConnection(end, verdict),
      random,
    });
    if (verdict.kind === 'refused') this.transparentLeft = false;
    if (!decision.retry && decision.because === 'throttled') context.client.throttled();
    if (decision.retry && decision.kind !== 'wait') {
      this.retriesSincePushback = decision.because === 'pushback' ? 0 : this.retriesSincePushback + 1;
    }
    return { decision, retryAfterMs: pushback.kind === 'delay' ? pushback.ms : undefined };
  }

  /** What an attempt that failed leaves behind. */
  note(end: AttemptEnd, verdict: Verdict): void {
    this.reached = further(this.reached, verdict.reachedServer);
    this.lastStatus = { code: end.code, details: end.details };
  }
}

/** The further of two: what one attempt reached stays reached. */
export function further(a: Verdict['reachedServer'], b: Verdict['reachedServer']): Verdict['reachedServer'] {
  return RANK[a] >= RANK[b] ? a : b;
}

/**
 * The connection with which the attempt failed; `undefined` if it failed for another reason. A server that shuts down also answers
 * calls instead of resetting them.
 */
export function lostConnection({ connection, wire }: AttemptEnd, verdict: Verdict): LostConnection | undefined {
  if (connection === undefined || !(verdict.connectionLost || wire?.goawayCode !== undefined)) return undefined;
  return { connection, isOver: wire?.connectionOver ?? false };
}

/** What the server asked for in the trailers of an attempt. */
export function pushbackOf(end: AttemptEnd): Pushback {
  const values = end.metadata.get(PUSHBACK_KEY);
  return values.length === 0 ? NO_PUSHBACK : parsePushback(values);
}

/** True if a call with `options` may be executed more than once. */
export function isSafeToRepeat({ policy, hedging }: MethodContext, options: GrpcCallOptions | undefined): boolean {
  return options?.idempotent ?? (policy.retry !== undefined || hedging !== undefined);
}

function retryPolicy(context: MethodContext, options: GrpcCallOptions | undefined): RetryPolicy | undefined {
  if (!isSafeToRepeat(context, options)) return undefined;
  const { policy, hedging } = context;
  if (hedging === undefined) return policy.retry ?? DEFAULT_RETRY_POLICY;
  // Its request does not fit the retry buffers: the policy only says which failures a smaller one would have followed.
  return { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: hedging.policy.nonFatalStatusCodes };
}
