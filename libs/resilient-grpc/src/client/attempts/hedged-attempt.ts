import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import type { AttemptKind } from '../../call/call-telemetry.js';
import { isCircuitOpenError } from '../../errors/circuit-open-error.js';
import { remainingMs } from '../../policy/deadline/deadline.js';
import { classify } from '../../policy/evidence/classify.js';
import type { Verdict } from '../../policy/evidence/verdict.js';
import {
  decideHedge,
  type HedgeDecision,
  type HedgeEvent,
  type HedgeGates,
} from '../../policy/hedging/decide-hedge.js';
import { UNSENT, type HedgeState } from '../../policy/hedging/hedge-state.js';
import { lostConnection, pushbackOf } from '../call/attempt-history.js';
import type { ClientContext, Hedging } from '../call-context.js';
import { HedgeLeg, type HedgeLegOwner } from './hedge-leg.js';
import type { Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';

/** The call whose attempts are hedged. */
export interface HedgeOwner {
  /** One of them failed, and the call goes on. */
  attemptGone(number: number, end: AttemptEnd, verdict: Verdict, durationMs: number, because: string): void;
  /** One of them does not count, and is sent again. */
  attemptResent(end: AttemptEnd, verdict: Verdict): void;
  /** The next one needs a channel: call `resume()` when there is one. */
  needChannel(): void;
  /** The next one could not be started, and nothing else is in flight. */
  cannotStart(error: unknown): void;
}

/**
 * Several attempts of one call that look like one: the next is sent when those in flight are slow or failed, the first that
 * begins to answer is the answer, and the others are cancelled at once.
 */
export class HedgedAttempt implements Attempt, HedgeLegOwner {
  /** Number of the attempt that answered, or of the last that failed. */
  number = 0;
  /** Why there was no further one. */
  because: HedgeDecision['because'] = 'first';
  private readonly legs = new Set<HedgeLeg>();
  private winner: HedgeLeg | undefined;
  private state: HedgeState = UNSENT;
  private payload: unknown;
  private timer: Timer | undefined;
  private slowTimer: PeerTimer | undefined;
  private ended = false;
  /** The call waits for a channel on behalf of the attempt that is to begin. */
  private awaitsChannel = false;
  private startedAt = 0;
  /** The last one in flight failed with a pushback: the call's own failure, unless another follows when it is due. */
  private held: Failed | undefined;
  /** Why the attempt that begins next is sent. */
  private reason: HedgeDecision['because'] = 'first';
  /** Numbers of attempts that did not count: the next ones take them. */
  private freeNumbers: number[] | undefined;
  /** The end of one ended others that might still have answered. */
  cutOthersOff = false;

  constructor(
    readonly hedging: Hedging,
    readonly client: ClientContext,
    readonly request: AttemptRequest,
    private readonly listener: AttemptListener,
    private readonly owner: HedgeOwner,
    /** The stages under it. */
    readonly startOne: StartAttempt,
    private readonly inRetryChain: boolean,
  ) {
    hedging.budget.onCall();
  }

  /** When the attempt that decides began, monotonic. */
  get decisiveStartedAt(): number {
    return this.winner?.startedAt ?? this.startedAt;
  }

  /** How far they got, should the call end now. */
  get reached(): Verdict['reachedServer'] {
    if (this.winner !== undefined) return 'yes';
    return this.legs.size > 0 ? 'maybe' : (this.held?.verdict.reachedServer ?? 'no');
  }

  get isOver(): boolean {
    return this.ended;
  }

  get peer(): string | undefined {
    const [first] = this.legs;
    return (this.winner ?? first)?.attempt?.peer;
  }

  /** The one request. */
  send(message: unknown): void {
    this.payload = message;
    this.step({ type: 'due', at: this.client.clock.now() });
  }

  halfClose(): void {
    // Each attempt closes its own.
  }

  startRead(): void {
    // Until one has won each reads what it needs by itself.
    this.winner?.attempt?.startRead();
  }

  /** There is a channel again. */
  resume(): void {
    this.awaitsChannel = false;
    // What waited for a channel is not slow yet.
    const dueAt = Math.max(this.state.dueAt, this.client.clock.now() + this.hedging.policy.hedgingDelayMs);
    this.state = { ...this.state, dueAt };
    this.begin();
    this.schedule();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    const leg = this.winner ?? [...this.legs].at(-1);
    leg?.attempt?.cancel(why, code, details);
  }

  abandon(because?: 'deadline'): void {
    this.ended = true;
    this.stopTimer();
    this.abandonLegs(undefined, because);
  }

  // ── what the attempts tell ──

  /** gRFC A6 commits with the headers. */
  legBegan(leg: HedgeLeg, headers: Metadata): void {
    if (this.ended) return;
    this.win(leg);
    if (this.winner === leg) this.listener.onHeaders(headers);
  }

  legMessage(leg: HedgeLeg, message: unknown): void {
    if (!this.ended && this.winner === leg) this.listener.onMessage(message);
  }

  legEnded(leg: HedgeLeg, end: AttemptEnd): void {
    this.legs.delete(leg);
    if (this.ended) return;
    if (this.winner === leg) {
      this.finish(leg, end);
      return;
    }
    if (isCircuitOpenError(end.cause)) {
      this.refused(end.cause);
      return;
    }
    const { clock } = this.client;
    const verdict = classify(end);
    if (verdict.kind === 'local' && this.legs.size > 0) {
      // It could not even be sent; without it the others are as good as before.
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
    if (verdict.kind === 'unsent' || decision.action === 'resend') (this.freeNumbers ??= []).push(leg.number);
    if (decision.action === 'resend') {
      this.owner.attemptResent(end, verdict);
      this.reason = decision.because;
      // With nothing in flight the call is paced like others that come back after their connection.
      if (this.legs.size > 0) this.beginOrWait();
      else this.beginLater();
      this.schedule();
      return;
    }
    if (decision.action === 'win' || decision.action === 'fail') {
      this.because = decision.because;
      this.finish(leg, end);
      return;
    }
    this.held = { leg, end, verdict, durationMs: clock.now() - leg.startedAt, because: decision.because };
    if (decision.action === 'send' || this.legs.size > 0) this.tellGone();
    if (this.isOver) return;
    this.act(decision);
    this.failHeld(this.client.registry.drainUntil);
  }

  /** Ends the call with the failure that it would follow with an attempt at `until` (monotonic milliseconds) or later. */
  failHeld(until: number): boolean {
    const { held } = this;
    if (held === undefined || this.isOver || this.state.dueAt < until) return false;
    this.because = 'draining';
    this.finish(held.leg, held.end);
    return true;
  }

  private tellGone(): void {
    const { held } = this;
    this.held = undefined;
    if (held === undefined || held.verdict.kind === 'unsent') return;
    // Whoever is told of it may end the call.
    this.owner.attemptGone(held.leg.number, held.end, held.verdict, held.durationMs, held.because);
  }

  // ── what follows ──

  private step(event: HedgeEvent): void {
    this.act(this.decide(event));
  }

  private decide(event: HedgeEvent): HedgeDecision {
    const { budget, clock, registry } = this.client;
    const gates: HedgeGates = {
      policy: this.hedging.policy,
      retries: budget,
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
      // When it was due something forbade it, and nothing else is in flight.
      this.because = decision.because;
      this.finish(this.held.leg, this.held.end);
      return;
    }
    if (decision.action === 'send') {
      this.tellGone();
      this.reason = decision.because;
      this.beginOrWait();
    }
    this.schedule();
  }

  private beginOrWait(): void {
    if (this.client.transport.ready) this.begin();
    else this.beginLater();
  }

  /** None can begin without a channel: those in flight may still answer, and without them the call waits for one. */
  private beginLater(): void {
    if (this.legs.size === 0) {
      this.awaitsChannel = true;
      this.stopTimer();
      this.owner.needChannel();
      return;
    }
    const { sent, inFlight } = this.state;
    this.state = { ...this.state, sent: sent - 1, inFlight: inFlight - 1, dueAt: Infinity };
  }

  private begin(): void {
    if (this.isOver) return;
    const { clock } = this.client;
    const number = this.freeNumbers?.shift() ?? this.state.sent;
    const leg = new HedgeLeg(this, number, clock.now(), this.reason === 'slow');
    this.legs.add(leg);
    if (this.reason === 'unsent' || this.reason === 'refused') this.nextIs('transparent-retry');
    else if (number > 1) this.nextIs('hedge');
    if (this.reason === 'slow') this.hedging.statistics.hedged += 1;
    else if (this.reason === 'replaces-failed') this.hedging.statistics.retried += 1;
    this.number = leg.number;
    this.startedAt = leg.startedAt;
    try {
      leg.start(this.payload);
    } catch (error) {
      this.legs.delete(leg);
      this.refused(error);
    }
  }

  private nextIs(kind: AttemptKind): void {
    this.request.telemetry?.nextIs(kind);
  }

  /** One could not be started, as the circuit opened meanwhile: those in flight go on, and no further one is sent. */
  private refused(error: unknown): void {
    this.state = { ...this.state, inFlight: this.state.inFlight - 1, dueAt: Infinity, stopped: 'circuit-open' };
    if (this.legs.size === 0) this.owner.cannotStart(error);
  }

  private schedule(): void {
    this.stopTimer();
    const { dueAt, inFlight, replaces } = this.state;
    if (this.ended || this.winner !== undefined || this.awaitsChannel || !Number.isFinite(dueAt)) return;
    const { clock } = this.client;
    const delayMs = dueAt - clock.now();
    // A hedge is sent because servers are slow. A delay that a server named is kept as it is.
    if (inFlight > 0 && !replaces && delayMs > 0) this.slowTimer = new PeerTimer(clock, delayMs, this.due);
    // A caller waits for the timer only if nothing is in flight.
    else this.timer = clock.setTimer(this.due, delayMs, inFlight === 0);
  }

  private readonly due = (): void => {
    this.timer = undefined;
    this.slowTimer = undefined;
    if (this.ended || this.winner !== undefined) return;
    const { clock } = this.client;
    // A timer may fire a little early.
    const at = Math.max(clock.now(), this.state.dueAt);
    this.step({ type: 'due', at });
  };

  /** From here on `leg` is the attempt. */
  private win(leg: HedgeLeg): void {
    if (this.winner !== undefined) return;
    this.winner = leg;
    this.number = leg.number;
    this.stopTimer();
    this.abandonLegs(leg);
  }

  private finish(leg: HedgeLeg, end: AttemptEnd): void {
    this.ended = true;
    this.cutOthersOff = this.winner === undefined && this.legs.size > 0;
    this.number = leg.number;
    this.startedAt = leg.startedAt;
    this.stopTimer();
    this.abandonLegs(leg);
    this.listener.onEnd(end);
  }

  private abandonLegs(but: HedgeLeg | undefined, because?: 'deadline'): void {
    for (const leg of [...this.legs]) {
      if (leg === but) continue;
      this.legs.delete(leg);
      leg.attempt?.abandon(because);
    }
  }

  private stopTimer(): void {
    if (this.timer !== undefined) this.client.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.slowTimer?.clear();
    this.slowTimer = undefined;
  }
}

/** One that failed, and what is told of it. */
interface Failed {
  readonly leg: HedgeLeg;
  readonly end: AttemptEnd;
  readonly verdict: Verdict;
  readonly durationMs: number;
  readonly because: string;
}
