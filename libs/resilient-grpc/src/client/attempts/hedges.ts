import type { AttemptEnd } from '../../call/attempt.js';
import { remainingMs } from '../../policy/deadline/deadline.js';
import type { Verdict } from '../../policy/evidence/classify.js';
import {
  decideHedge,
  UNSENT,
  uncountLast,
  type HedgeDecision,
  type HedgeEvent,
  type HedgeState,
  type NoHedgeReason,
} from '../../policy/hedging/decide-hedge.js';
import type { Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { ClientContext, Hedging } from '../call-context.js';
import { lostConnection, pushbackOf } from './attempt-history.js';

/** Decides for one call when another attempt is sent beside or instead of those in flight. */
export class Hedges {
  /** Reason of the decision that ended the call. */
  because: HedgeDecision['because'] = 'first';
  /** Reason for the next attempt. */
  reason: HedgeDecision['because'] = 'first';
  /** True if the end of one attempt cancelled others that might still have received a response. */
  cutOthersOff = false;
  private state: HedgeState = UNSENT;
  /** Numbers of attempts that did not count. The next attempts reuse them. */
  private freeNumbers: number[] | undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly hedging: Hedging,
    private readonly client: ClientContext,
    private readonly deadline: number,
    private readonly inRetryChain: boolean,
  ) {
    hedging.budget.onCall();
  }

  /** Time at which the next attempt is due, in monotonic milliseconds; `Infinity` if there is none. */
  get dueAt(): number {
    return this.state.dueAt;
  }

  due(): HedgeDecision {
    // At least the due time, because a timer may fire slightly early.
    return this.decide({ type: 'due', at: Math.max(this.client.clock.now(), this.state.dueAt) });
  }

  ended(number: number, end: AttemptEnd, verdict: Verdict): HedgeDecision {
    const at = this.client.clock.now();
    const lostWith = lostConnection(end, verdict);
    const decision = this.decide({ type: 'ended', at, verdict, pushback: pushbackOf(end), lostWith, delivered: false });
    if (verdict.kind === 'unsent' || decision.action === 'resend') (this.freeNumbers ??= []).push(number);
    return decision;
  }

  private decide(event: HedgeEvent): HedgeDecision {
    const { budget, clock, registry, trustRefusedStreams } = this.client;
    const decision = decideHedge(this.state, event, {
      policy: this.hedging.policy,
      retries: budget.current,
      hedges: this.hedging.budget,
      remainingMs: remainingMs(this.deadline, clock.epoch()),
      draining: registry.accepting !== 'yes',
      inRetryChain: this.inRetryChain,
      trustRefused: trustRefusedStreams,
    });
    this.state = decision.state;
    if (decision.action === 'send' || decision.action === 'resend') this.reason = decision.because;
    return decision;
  }

  /** Counts the attempt that starts now. Returns its number. */
  begin(): number {
    const number = this.freeNumbers?.shift() ?? this.state.sent;
    const { statistics } = this.hedging;
    if (this.reason === 'slow') statistics.hedged += 1;
    else if (this.reason === 'replaces-failed') statistics.retried += 1;
    return number;
  }

  /** Begins the delay of the next attempt anew, because the wait for the channel does not count as a slow response. */
  hasWaited(): void {
    const dueAt = Math.max(this.state.dueAt, this.client.clock.now() + this.hedging.policy.hedgingDelayMs);
    this.state = { ...this.state, dueAt };
  }

  /** Drops an attempt that was to be sent while others are in flight. */
  drop(): void {
    const { state } = this;
    this.state = { ...state, ...uncountLast(state), inFlight: state.inFlight - 1, dueAt: Infinity };
  }

  /** Sends no further attempt, because one could not be started. */
  refuse(stopped: NoHedgeReason): void {
    this.state = { ...this.state, inFlight: this.state.inFlight - 1, dueAt: Infinity, stopped };
  }

  /** Records the latency of the first attempt if the hedging delay follows latency. */
  measure(number: number, startedAt: number, isAnswered: boolean): void {
    const { delay } = this.hedging;
    if (delay === undefined || number !== 1) return;
    const now = this.client.clock.now();
    if (isAnswered) delay.answered(now - startedAt, now);
    else delay.unanswered(now - startedAt, now);
  }

  /** Calls `due` when the next attempt is due. */
  schedule(isInFlight: boolean, due: () => void): void {
    this.stop();
    const { dueAt, replaces } = this.state;
    if (dueAt === Infinity) return;
    const { clock } = this.client;
    const delayMs = dueAt - clock.now();
    // A hedge is sent because servers are slow, so its delay excludes time during which this process did not run. A pushback or a backoff
    // is kept unchanged.
    if (isInFlight && !replaces && delayMs > 0) this.timer = new PeerTimer(clock, delayMs, due);
    // The timer keeps the process running only if no attempt is in flight, because the caller then waits for the timer.
    else this.timer = clock.setTimer(due, delayMs, !isInFlight);
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
  }
}
