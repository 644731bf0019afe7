import type { CallOptions, Interceptor, Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../call/attempt.js';
import type { MethodDescriptor } from '../call/method.js';
import { attemptMetadata } from '../channel/call-metadata.js';
import { remainingMs } from '../policy/deadline/deadline.js';
import { classify } from '../policy/evidence/classify.js';
import type { Verdict } from '../policy/evidence/verdict.js';
import { decideHedge, type HedgeDecision, type HedgeEvent, type HedgeGates } from '../policy/hedging/decide-hedge.js';
import type { HedgeBudget } from '../policy/hedging/hedge-budget.js';
import { UNSENT, type HedgeState } from '../policy/hedging/hedge-state.js';
import type { HedgingPolicy } from '../policy/hedging/hedging-policy.js';
import { pushbackOf } from './attempt-history.js';
import type { ClientContext, Hedging } from './call-context.js';
import type { Timer } from '../time/clock.js';

/** The call whose attempts are hedged. */
export interface HedgeOwner {
  /** One of them failed, and the call goes on. */
  attemptGone(number: number, end: AttemptEnd, verdict: Verdict, durationMs: number, because: string): void;
  /** The next one needs a channel: call `resume()` when there is one. */
  needChannel(): void;
  /** The next one could not be started, and nothing else is in flight. */
  cannotStart(error: unknown): void;
}

/**
 * Several attempts of one call that look like one: the next is sent when those in flight are slow or failed, the first that
 * answers is the answer, and the others are cancelled at once. Of a response stream the first that begins is the answer.
 */
export class HedgedAttempt implements Attempt {
  /** Number of the attempt that answered, or of the last that failed. */
  number = 0;
  /** Why there was no further one. */
  because: HedgeDecision['because'] = 'first';
  private readonly legs = new Set<Leg>();
  private winner: Leg | undefined;
  private state: HedgeState = UNSENT;
  private payload: unknown;
  private timer: Timer | undefined;
  private ended = false;
  private startedAt = 0;

  constructor(
    readonly hedging: Hedging,
    readonly client: ClientContext,
    readonly request: AttemptRequest,
    private readonly listener: AttemptListener,
    private readonly owner: HedgeOwner,
    /** The stages under it. */
    readonly startOne: StartAttempt,
  ) {
    hedging.budget.onCall();
  }

  /** When the attempt that decides began, monotonic. */
  get decisiveStartedAt(): number {
    return this.winner?.startedAt ?? this.startedAt;
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

  legBegan(leg: Leg, headers: Metadata): void {
    if (this.ended) return;
    if (this.request.method.responseStream) this.win(leg);
    if (this.winner === leg) this.listener.onHeaders(headers);
  }

  legMessage(leg: Leg, message: unknown): void {
    if (this.ended || this.winner !== leg) return;
    this.listener.onMessage(message);
  }

  legEnded(leg: Leg, end: AttemptEnd): void {
    this.legs.delete(leg);
    if (this.ended) return;
    if (this.winner === leg) {
      this.finish(leg, end);
      return;
    }
    const verdict = classify(end);
    const decision = this.decide({
      type: 'ended',
      at: this.client.clock.now(),
      verdict: leg.hasAnswered ? verdict : unanswered(verdict),
      pushback: pushbackOf(end),
      connectionKey: end.connectionKey,
      delivered: false,
    });
    if (decision.action === 'win' || decision.action === 'fail') {
      this.because = decision.because;
      if (decision.action === 'win') this.handOver(leg);
      this.finish(leg, end);
      return;
    }
    const durationMs = this.client.clock.now() - leg.startedAt;
    if (verdict.kind !== 'unsent') this.owner.attemptGone(leg.number, end, verdict, durationMs, decision.because);
    this.act(decision);
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
    };
    const decision = decideHedge(this.state, event, gates);
    this.state = decision.state;
    return decision;
  }

  private act(decision: HedgeDecision): void {
    if (decision.action === 'send') {
      if (this.client.transport.ready) this.begin();
      else this.beginLater();
    }
    this.schedule();
  }

  /** None can begin without a channel: those in flight may still answer, and without them the call waits for one. */
  private beginLater(): void {
    if (this.legs.size === 0) {
      this.owner.needChannel();
      return;
    }
    const { sent, inFlight } = this.state;
    this.state = { ...this.state, sent: sent - 1, inFlight: inFlight - 1, dueAt: Infinity };
  }

  private begin(): void {
    const { clock } = this.client;
    const leg = new Leg(this, this.state.sent, clock.now());
    this.legs.add(leg);
    this.number = leg.number;
    this.startedAt = leg.startedAt;
    try {
      leg.start(this.payload);
    } catch (error) {
      // The circuit opened meanwhile: those in flight go on, and no further one is sent.
      this.legs.delete(leg);
      this.state = { ...this.state, inFlight: this.state.inFlight - 1, dueAt: Infinity, stopped: 'throttled' };
      if (this.legs.size === 0) this.owner.cannotStart(error);
    }
  }

  private schedule(): void {
    this.stopTimer();
    const { dueAt, inFlight } = this.state;
    if (this.ended || this.winner !== undefined || !Number.isFinite(dueAt) || this.state.sent === 0) return;
    const { clock } = this.client;
    // Somebody waits for it only while nothing is in flight.
    this.timer = clock.setTimer(this.due, dueAt - clock.now(), inFlight === 0);
  }

  private readonly due = (): void => {
    this.timer = undefined;
    if (this.ended || this.winner !== undefined) return;
    const { clock } = this.client;
    // A timer may fire a little early.
    const at = Math.max(clock.now(), this.state.dueAt);
    this.step({ type: 'due', at });
  };

  /** From here on `leg` is the attempt. */
  private win(leg: Leg): void {
    if (this.winner !== undefined) return;
    this.winner = leg;
    this.number = leg.number;
    this.stopTimer();
    this.abandonLegs(leg);
  }

  /** Gives the caller what a unary attempt was given before it was known to be the answer. */
  private handOver(leg: Leg): void {
    this.win(leg);
    if (leg.headers !== undefined) this.listener.onHeaders(leg.headers);
    for (const message of leg.messages) this.listener.onMessage(message);
  }

  private finish(leg: Leg, end: AttemptEnd): void {
    this.ended = true;
    this.number = leg.number;
    this.startedAt = leg.startedAt;
    this.stopTimer();
    this.abandonLegs(leg);
    this.listener.onEnd(end);
  }

  private abandonLegs(but: Leg | undefined, because?: 'deadline'): void {
    for (const leg of [...this.legs]) {
      if (leg === but) continue;
      this.legs.delete(leg);
      leg.attempt?.abandon(because);
    }
  }

  private stopTimer(): void {
    if (this.timer !== undefined) this.client.clock.clearTimer(this.timer);
    this.timer = undefined;
  }
}

/** One of them. It is the request and the listener of its attempt. */
class Leg implements AttemptRequest, AttemptListener {
  readonly method: MethodDescriptor;
  readonly deadline: number;
  readonly metadata: Metadata;
  readonly options: CallOptions | undefined;
  readonly interceptors: readonly Interceptor[] | undefined;
  readonly maxReceiveBytes: number;
  attempt: Attempt | undefined;
  headers: Metadata | undefined;
  readonly messages: unknown[] = [];

  constructor(
    private readonly call: HedgedAttempt,
    readonly number: number,
    readonly startedAt: number,
  ) {
    const { request } = call;
    this.method = request.method;
    this.deadline = request.deadline;
    this.metadata = attemptMetadata(request.metadata, number);
    this.options = request.options;
    this.interceptors = request.interceptors;
    this.maxReceiveBytes = request.maxReceiveBytes;
  }

  /** A method that answers once has its message. */
  get hasAnswered(): boolean {
    return this.method.responseStream || this.messages.length === 1;
  }

  start(payload: unknown): void {
    const attempt = this.call.startOne(this, this);
    this.attempt = attempt;
    attempt.send(payload);
    attempt.halfClose();
    attempt.startRead();
  }

  onHeaders(headers: Metadata): void {
    this.headers = headers;
    this.call.legBegan(this, headers);
  }

  onMessage(message: unknown): void {
    if (this.method.responseStream) {
      this.call.legMessage(this, message);
      return;
    }
    this.messages.push(message);
    // Reads on, so that a second answer is seen.
    this.attempt?.startRead();
  }

  onEnd(end: AttemptEnd): void {
    this.call.legEnded(this, end);
  }
}

/** OK without a message is no answer of a method that answers once; the call says so. */
function unanswered(verdict: Verdict): Verdict {
  return verdict.kind === 'ok' ? { ...verdict, kind: 'protocol' } : verdict;
}
