import type { Metadata } from '@grpc/grpc-js';
import type {
  Attempt,
  AttemptEnd,
  AttemptListener,
  AttemptRequest,
  ResponseHeaders,
  StartAttempt,
} from '../../call/attempt.js';
import type { AttemptEndReason } from '../../call/call-event.js';
import { attemptMetadata } from '../../channel/wire/call-metadata.js';
import { CircuitOpenError } from '../../errors/operator-errors.js';
import { remainingMs } from '../../policy/deadline/deadline.js';
import type { Verdict } from '../../policy/evidence/classify.js';
import {
  continuedBecause,
  decideHedge,
  type HedgeDecision,
  type HedgeEvent,
  type HedgeGates,
  UNSENT,
  type HedgeState,
  uncountLast,
} from '../../policy/hedging/decide-hedge.js';
import { HEDGE_MARK, RETRY_CHAIN_KEY } from '../../policy/retry/decide-retry.js';
import { lostConnection, pushbackOf, verdictOf } from './attempt-history.js';
import type { ClientContext, Hedging } from '../call-context.js';
import type { Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';

/** Receives the events of a hedged call: those of the attempt that decides the call, and those of the other attempts. */
export interface HedgeListener extends AttemptListener {
  hedgeFailed(number: number, end: AttemptEnd, verdict: Verdict, durationMs: number, because: AttemptEndReason): void;
  /** Called when an attempt is resent without being counted. */
  attemptResent(end: AttemptEnd, verdict: Verdict): void;
  /** Called when the next attempt needs a channel. The listener must call `resume()` when a channel is ready. */
  needChannel(): void;
  cannotStart(error: unknown): void;
}

/**
 * Runs several attempts of one call and presents them as one attempt. The next attempt is sent when the attempts in flight are slow, or
 * when one fails. The first attempt that receives response headers, succeeds, or ends with a fatal status decides the call, and the others
 * are cancelled immediately.
 */
export class HedgedAttempt implements Attempt {
  /** Number of the attempt that decided the call; before that, of the latest attempt. */
  number = 0;
  because: HedgeDecision['because'] = 'first';
  private readonly hedges = new Set<HedgeAttempt>();
  private winner: HedgeAttempt | undefined;
  private state: HedgeState = UNSENT;
  private payload: unknown;
  private timer: Timer | undefined;
  private ended = false;
  private awaitsChannel = false;
  private startedAt = 0;
  /** Failure of the last attempt in flight, while a pushback or a backoff delays the next attempt. */
  private held: Failed | undefined;
  private reason: HedgeDecision['because'] = 'first';
  /** Numbers of attempts that did not count. The next attempts reuse them. */
  private freeNumbers: number[] | undefined;
  readonly tried: string[] = [];
  /** True if the end of one attempt cancelled others that might still have received a response. */
  cutOthersOff = false;

  constructor(
    private readonly hedging: Hedging,
    private readonly client: ClientContext,
    readonly request: AttemptRequest,
    private readonly listener: HedgeListener,
    readonly startOne: StartAttempt,
    private readonly inRetryChain: boolean,
  ) {
    hedging.budget.onCall();
  }

  /** Start of the attempt that decides the call, in monotonic milliseconds. */
  get decisiveStartedAt(): number {
    return this.winner?.startedAt ?? this.startedAt;
  }

  /** `reachedServer` of the attempts that have not been reported to the listener, if the call ends now. */
  get reached(): Verdict['reachedServer'] {
    if (this.winner !== undefined) return 'yes';
    return this.isSent ? 'maybe' : (this.held?.verdict.reachedServer ?? 'no');
  }

  get obstacle(): Attempt['obstacle'] {
    const [first] = this.hedges;
    return (this.winner ?? first)?.attempt?.obstacle;
  }

  get unsentBecause(): string | undefined {
    const [first] = this.hedges;
    return this.winner === undefined && !this.isSent ? first?.attempt?.unsentBecause : undefined;
  }

  private get isSent(): boolean {
    for (const { attempt } of this.hedges) if (attempt?.unsentBecause === undefined) return true;
    return false;
  }

  /** True if the call has ended. Callers and listeners may end it during any callback. */
  get isOver(): boolean {
    return this.ended;
  }

  get peer(): string | undefined {
    const [first] = this.hedges;
    return (this.winner ?? first)?.attempt?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.winner?.attempt?.authContext;
  }

  send(message: unknown): void {
    this.payload = message;
    this.step({ type: 'due', at: this.client.clock.now() });
  }

  halfClose(): void {
    // Each attempt half-closes its own stream.
  }

  startRead(): void {
    // Until an attempt wins, each attempt starts its own read.
    this.winner?.attempt?.startRead();
  }

  /** Starts the pending attempt, because a channel is ready again. */
  resume(): void {
    this.awaitsChannel = false;
    // The wait for a channel does not count as a slow response.
    const dueAt = Math.max(this.state.dueAt, this.client.clock.now() + this.hedging.policy.hedgingDelayMs);
    this.state = { ...this.state, dueAt };
    this.begin();
    this.schedule();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    const hedge = this.winner ?? [...this.hedges].at(-1);
    hedge?.attempt?.cancel(why, code, details);
  }

  abandon(because?: 'deadline'): void {
    this.ended = true;
    this.stopTimer();
    this.abandonAttempts(undefined, because);
  }

  // ── events of the attempts ──

  /** Commits the call to this attempt, as gRFC A6 requires for response headers. */
  attemptBegan(hedge: HedgeAttempt, headers: ResponseHeaders): void {
    if (this.ended) return;
    if (this.winner === undefined) this.measure(hedge, true);
    this.win(hedge);
    if (this.winner === hedge) this.listener.onHeaders(headers);
  }

  attemptMessage(hedge: HedgeAttempt, message: unknown): void {
    if (!this.ended && this.winner === hedge) this.listener.onMessage(message);
  }

  attemptEnded(hedge: HedgeAttempt, end: AttemptEnd): void {
    this.hedges.delete(hedge);
    if (this.ended) return;
    if (this.winner === hedge) {
      this.finish(hedge, end);
      return;
    }
    if (end.cause instanceof CircuitOpenError) {
      this.refused(end.cause);
      return;
    }
    const { clock } = this.client;
    const verdict = verdictOf(end);
    this.measure(hedge, verdict.kind === 'ok');
    if (verdict.kind === 'local' && this.hedges.size > 0) {
      // The attempt could not be sent. The attempts in flight continue.
      this.refused(end.cause);
      return;
    }
    const decision = this.decide({
      type: 'ended',
      at: clock.now(),
      verdict,
      pushback: pushbackOf(end),
      lostWith: lostConnection(end, verdict),
      delivered: false,
    });
    if (verdict.kind === 'unsent' || decision.action === 'resend') (this.freeNumbers ??= []).push(hedge.number);
    if (decision.action === 'resend') {
      this.listener.attemptResent(end, verdict);
      this.reason = decision.because;
      // If no attempt is in flight, the call is resent at a limited rate, like other calls that lost their connection.
      if (this.hedges.size > 0) this.beginOrWait();
      else this.beginLater();
      this.schedule();
      return;
    }
    if (decision.action === 'win' || decision.action === 'fail') {
      this.because = decision.because;
      this.finish(hedge, end);
      return;
    }
    const because = continuedBecause(decision.because);
    this.held = { hedge, end, verdict, durationMs: clock.now() - hedge.startedAt, because };
    if (decision.action === 'send' || this.hedges.size > 0) this.reportHeldFailure();
    if (this.isOver) return;
    this.act(decision);
    this.failHeld(this.client.registry.drainUntil);
  }

  /** Fails the call with its held failure, and returns true, if the next attempt is due at `until` (monotonic milliseconds) or later. */
  failHeld(until: number): boolean {
    const { held } = this;
    if (held === undefined || this.isOver || this.state.dueAt < until) return false;
    this.because = 'draining';
    this.finish(held.hedge, held.end);
    return true;
  }

  private reportHeldFailure(): void {
    const { held } = this;
    this.held = undefined;
    if (held === undefined || held.verdict.kind === 'unsent') return;
    // The callback may end the call.
    this.listener.hedgeFailed(held.hedge.number, held.end, held.verdict, held.durationMs, held.because);
  }

  // ── decisions ──

  private step(event: HedgeEvent): void {
    this.act(this.decide(event));
  }

  private decide(event: HedgeEvent): HedgeDecision {
    const { budget, clock, registry } = this.client;
    const gates: HedgeGates = {
      policy: this.hedging.policy,
      retries: budget.current,
      hedges: this.hedging.budget,
      remainingMs: remainingMs(this.request.deadline, clock.epoch()),
      draining: registry.accepting !== 'yes',
      inRetryChain: this.inRetryChain,
      trustRefused: this.client.trustRefusedStreams,
    };
    const decision = decideHedge(this.state, event, gates);
    this.state = decision.state;
    return decision;
  }

  private act(decision: HedgeDecision): void {
    if (decision.action === 'fail' && this.held !== undefined) {
      // The next attempt was not permitted when it was due, and no other attempt is in flight.
      this.because = decision.because;
      this.finish(this.held.hedge, this.held.end);
      return;
    }
    if (decision.action === 'send') {
      this.reportHeldFailure();
      this.reason = decision.because;
      this.beginOrWait();
    }
    this.schedule();
  }

  private beginOrWait(): void {
    if (this.client.transport.ready) this.begin();
    else this.beginLater();
  }

  /**
   * Postpones or drops an attempt that must not start yet. If no attempt is in flight, the call waits for the channel to release it. If
   * attempts are in flight, the new attempt is dropped, because the others may still receive a response.
   */
  private beginLater(): void {
    if (this.hedges.size === 0) {
      this.awaitsChannel = true;
      this.stopTimer();
      this.listener.needChannel();
      return;
    }
    const { state } = this;
    this.state = { ...state, ...uncountLast(state), inFlight: state.inFlight - 1, dueAt: Infinity };
  }

  private begin(): void {
    if (this.isOver) return;
    const { clock } = this.client;
    const number = this.freeNumbers?.shift() ?? this.state.sent;
    const hedge = new HedgeAttempt(this, number, clock.now(), this.reason === 'slow');
    this.hedges.add(hedge);
    if (this.reason === 'unsent' || this.reason === 'refused') this.request.telemetry?.nextIs?.('transparent-retry');
    else if (number > 1) this.request.telemetry?.nextIs?.('hedge');
    if (this.reason === 'slow') this.hedging.statistics.hedged += 1;
    else if (this.reason === 'replaces-failed') this.hedging.statistics.retried += 1;
    this.number = hedge.number;
    this.startedAt = hedge.startedAt;
    try {
      hedge.start(this.payload);
    } catch (error) {
      this.hedges.delete(hedge);
      this.refused(error);
    }
  }

  /** Handles an attempt that could not be started, for example because the circuit has opened. */
  private refused(error: unknown): void {
    const stopped = error instanceof CircuitOpenError ? 'circuit-open' : 'local';
    this.state = { ...this.state, inFlight: this.state.inFlight - 1, dueAt: Infinity, stopped };
    if (this.hedges.size === 0) this.listener.cannotStart(error);
  }

  private schedule(): void {
    this.stopTimer();
    const { dueAt, inFlight, replaces } = this.state;
    if (this.ended || this.winner !== undefined || this.awaitsChannel || !Number.isFinite(dueAt)) return;
    const { clock } = this.client;
    const delayMs = dueAt - clock.now();
    // A hedge is sent because servers are slow, so its delay excludes time during which this process did not run. A pushback or a backoff
    // is kept unchanged.
    if (inFlight > 0 && !replaces && delayMs > 0) this.timer = new PeerTimer(clock, delayMs, this.due);
    // The timer keeps the process running only if no attempt is in flight, because the caller then waits for the timer.
    else this.timer = clock.setTimer(this.due, delayMs, inFlight === 0);
  }

  private readonly due = (): void => {
    this.timer = undefined;
    if (this.ended || this.winner !== undefined) return;
    const { clock } = this.client;
    // At least the due time, because a timer may fire slightly early.
    const at = Math.max(clock.now(), this.state.dueAt);
    this.step({ type: 'due', at });
  };

  private win(hedge: HedgeAttempt): void {
    if (this.winner !== undefined) return;
    this.winner = hedge;
    this.number = hedge.number;
    this.stopTimer();
    this.abandonAttempts(hedge);
  }

  private finish(hedge: HedgeAttempt, end: AttemptEnd): void {
    this.ended = true;
    this.cutOthersOff = this.winner === undefined && this.isSent;
    this.number = hedge.number;
    this.startedAt = hedge.startedAt;
    this.stopTimer();
    this.abandonAttempts(hedge);
    this.listener.onEnd(end);
  }

  private abandonAttempts(except: HedgeAttempt | undefined, because?: 'deadline'): void {
    for (const hedge of [...this.hedges]) {
      if (hedge === except) continue;
      this.hedges.delete(hedge);
      if (this.winner !== hedge) this.measure(hedge, false);
      hedge.attempt?.abandon(because);
    }
  }

  /** Records the latency of the first attempt if the hedging delay follows latency. */
  private measure({ number, startedAt }: HedgeAttempt, isAnswered: boolean): void {
    const { delay } = this.hedging;
    if (delay === undefined || number !== 1) return;
    const now = this.client.clock.now();
    if (isAnswered) delay.answered(now - startedAt, now);
    else delay.unanswered(now - startedAt, now);
  }

  private stopTimer(): void {
    this.timer?.clear();
    this.timer = undefined;
  }
}

interface Failed {
  readonly hedge: HedgeAttempt;
  readonly end: AttemptEnd;
  readonly verdict: Verdict;
  readonly durationMs: number;
  readonly because: AttemptEndReason;
}

class HedgeAttempt implements AttemptListener {
  attempt: Attempt | undefined;

  constructor(
    private readonly call: HedgedAttempt,
    readonly number: number,
    readonly startedAt: number,
    private readonly othersAreSlow: boolean,
  ) {}

  start(payload: unknown): void {
    const { call, number } = this;
    const metadata = hedgeMetadata(call.request.metadata, number, this.othersAreSlow);
    const attempt = call.startOne({ ...call.request, number, metadata, tried: call.tried }, this);
    this.attempt = attempt;
    if (call.isOver) {
      attempt.abandon();
      return;
    }
    attempt.send(payload);
    attempt.halfClose();
    attempt.startRead();
  }

  onHeaders(headers: ResponseHeaders): void {
    this.call.attemptBegan(this, headers);
  }

  onMessage(message: unknown): void {
    this.call.attemptMessage(this, message);
  }

  onEnd(end: AttemptEnd): void {
    this.call.attemptEnded(this, end);
  }
}

/**
 * Returns the metadata of an attempt. An attempt that is sent because other attempts are slow gets `HEDGE_MARK` in `x-retry-chain`. Such an
 * attempt has an attempt count, as a retry does, but replaces no failed attempt. With this value, the server may retry its own calls. If
 * the call itself serves a retry, the attempt keeps the value of `x-retry-chain` instead. An attempt that replaces a failed attempt is a
 * retry.
 */
function hedgeMetadata(metadata: Metadata, number: number, othersAreSlow: boolean): Metadata {
  const copy = attemptMetadata(metadata, number);
  if (othersAreSlow && copy.get(RETRY_CHAIN_KEY).length === 0) copy.set(RETRY_CHAIN_KEY, HEDGE_MARK);
  return copy;
}
