import type { WaitingCalls } from './waiting-calls.js';
import type { Waiter } from '../../call/call-transport.js';
import { spareMs, type ReleaseTimes } from '../../policy/release/held-call.js';
import { releaseDemand } from '../../policy/release/release-demand.js';
import { ReleasePace, type ReleasedKind } from '../../policy/release/release-pace.js';
import { DEFAULT_RELEASE_POLICY, type ReleasePolicy } from '../../policy/release/release-policy.js';
import { inSendOrder } from '../../policy/release/send-order.js';
import type { UsualLoad } from '../../policy/release/usual-load.js';
import type { Clock, Timer } from '../../time/clock.js';

/** Calls released in one turn of the event loop where no pace applies, so that it is not blocked. */
const SLICE = 256;
/** A tick that is later than this shows that the process was busy: the same that a slow answer is allowed beyond the usual. */
const OWN_DELAY_MS = 20;

type Released = Pick<Waiter, 'answerDue'>;

/** Dependencies and constants of a release. */
export interface ReleaseSeams {
  readonly load: UsualLoad;
  readonly clock: Clock;
  /** True if calls may be sent. */
  readonly usable: () => boolean;
  /** Milliseconds after READY within which every held call is sent. */
  readonly withinMs: number;
  readonly policy?: ReleasePolicy;
}

/**
 * Sends waiting calls once the channel is usable: oldest first, or, after an outage, by deadline and bound at a pace that the
 * server is seen to bear (sent at once, a fleet's held calls are 36 times a recovering server's usual load).
 */
export class CallRelease {
  private readonly policy: ReleasePolicy;
  private pace: ReleasePace | undefined;
  private timer: Timer | undefined;
  private running = false;
  /** Time at which the next tick is due. */
  private dueAt = Infinity;
  private readyAt = 0;
  /** 0 if no pace applies. */
  private boundMs = 0;
  /** Calls in the order in which they are sent, as they were at `surveyedAt`; those that were cancelled since are skipped. */
  private order: readonly Waiter[] = [];
  private next = 0;
  private surveyedAt = 0;

  constructor(
    private readonly waiting: WaitingCalls,
    private readonly seams: ReleaseSeams,
  ) {
    this.policy = seams.policy ?? DEFAULT_RELEASE_POLICY;
  }

  /** Begins to send what waits. `afterOutage`: false if the connection was only being made. */
  begin(afterOutage: boolean): void {
    if (this.running || this.waiting.size === 0) return;
    this.running = true;
    const { load, clock, withinMs } = this.seams;
    const now = clock.now();
    this.readyAt = now;
    const isPaced = afterOutage || this.waiting.anyPaced;
    // After a longer outage there are more held calls: of a longer grace, or with `waitForReady: true`.
    this.boundMs = isPaced ? Math.max(withinMs, this.waiting.oldestMs(now) * this.policy.boundGraces) : 0;
    if (isPaced) {
      const usual = { now, usualCallsPerSecond: load.callsPerSecond(now), usualLatencyMs: load.medianMs };
      this.pace = new ReleasePace({ ...usual, demand: this.survey(now) }, this.policy);
    }
    // In a turn of its own: the caller is still in the middle of a change of state.
    this.tickNext();
  }

  /** The channel is no longer usable. */
  stop(): void {
    this.running = false;
    this.pace = undefined;
    this.order = [];
    this.next = 0;
    if (this.timer !== undefined) this.seams.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  /** A released call was answered. */
  answered(waiter: Released, latencyMs: number): void {
    this.pace?.answered(latencyMs, this.seams.clock.now(), kindOf(waiter));
  }

  /** A released call failed. */
  failed(waiter: Released): void {
    this.pace?.failed(this.seams.clock.now(), kindOf(waiter));
  }

  private readonly tick = (): void => {
    this.timer = undefined;
    const { clock, usable } = this.seams;
    const now = clock.now();
    if (now - this.dueAt > OWN_DELAY_MS) this.pace?.excuse(now);
    if (!this.running) return;
    if (!usable()) {
      this.stop();
      return;
    }
    if (now - this.surveyedAt >= this.policy.stepMs) this.pace?.require(this.survey(now));
    this.releaseSome(this.pace === undefined ? SLICE : this.pace.take(now, this.waiting.size));
    if (this.waiting.size === 0) this.stop();
    else if (this.pace === undefined) this.tickNext();
    else this.tickIn(this.pace.msUntilNext(now));
  };

  private tickNext(): void {
    this.dueAt = Infinity;
    this.seams.clock.defer(this.tick);
  }

  private tickIn(ms: number): void {
    this.dueAt = this.seams.clock.now() + ms;
    this.timer = this.seams.clock.setTimer(this.tick, ms, true);
  }

  private releaseSome(allowed: number): void {
    const times = this.times(this.seams.clock.now());
    let left = allowed;
    while (left > 0) {
      const waiter = this.shift();
      if (waiter === undefined) return;
      // With less time than a call takes it would only load the server; its own deadline ends it.
      if (spareMs(waiter, times) <= 0) continue;
      left -= 1;
      if (!waiter.answerDue) this.pace?.opened();
      waiter.release();
    }
  }

  private shift(): Waiter | undefined {
    while (this.waiting.size > 0) {
      const waiter = this.order[this.next];
      if (waiter === undefined) this.sort(this.seams.clock.now());
      else {
        this.next += 1;
        if (this.waiting.remove(waiter)) return waiter;
      }
    }
    return undefined;
  }

  /** Sorts the calls that wait now, and returns the paces that they need. */
  private survey(now: number): ReturnType<typeof releaseDemand> {
    this.sort(now);
    return releaseDemand(this.order, this.times(now), this.policy);
  }

  private sort(now: number): void {
    this.surveyedAt = now;
    this.order = this.boundMs === 0 ? [...this.waiting] : inSendOrder(this.waiting, this.times(now));
    this.next = 0;
  }

  private times(now: number): ReleaseTimes {
    const { readyAt, boundMs, seams, pace } = this;
    const latencyMs = Math.max(seams.load.medianMs, pace?.latencyMs ?? 0);
    return { now, epoch: seams.clock.epoch(), readyAt, boundMs, latencyMs };
  }
}

function kindOf({ answerDue }: Released): ReleasedKind {
  return answerDue ? 'unary' : 'stream';
}
