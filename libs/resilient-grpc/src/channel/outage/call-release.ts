import type { WaitingCalls } from './waiting-calls.js';
import type { Waiter } from '../../call/call-transport.js';
import { inSendOrder, spareMs, type ReleaseTimes } from '../../policy/queue-release/held-call.js';
import { releaseDemand } from '../../policy/queue-release/release-demand.js';
import { ReleasePace, type ReleasedKind } from '../../policy/queue-release/release-pace.js';
import { DEFAULT_RELEASE_POLICY, type ReleasePolicy } from '../../policy/queue-release/release-policy.js';
import type { LoadBaseline } from '../../policy/queue-release/load-baseline.js';
import type { Clock, Timer } from '../../time/clock.js';

/** Maximum number of calls released per event-loop turn if no pace applies. More would block the loop. */
const RELEASE_BATCH_SIZE = 256;
/** A tick that is later than this shows that the process was busy. Equals the tolerance for slow responses. */
const OWN_DELAY_MS = 20;

type Released = Pick<Waiter, 'expectsPromptResponse'>;

/** Dependencies and constants of a release. */
export interface ReleaseDependencies {
  readonly load: LoadBaseline;
  readonly clock: Clock;
  /** True if calls may be sent. */
  readonly usable: () => boolean;
  /** Milliseconds after READY within which every waiting call is sent. */
  readonly withinMs: number;
  readonly policy?: ReleasePolicy;
}

/**
 * Sends waiting calls once the channel is usable. By default, the oldest call goes first. After an outage, calls are ordered by their
 * deadlines and the release bound, and paced by the responses of the server. Sent at once, the waiting calls of a fleet are 36 times the
 * usual load of a recovering server.
 */
export class CallRelease {
  private readonly policy: ReleasePolicy;
  private pace: ReleasePace | undefined;
  private timer: Timer | undefined;
  private running = false;
  /** Due time of the next tick. */
  private dueAt = Infinity;
  private readyAt = 0;
  /** Time after READY within which every waiting call is sent; 0 if no pace applies. */
  private boundMs = 0;
  /** Send order, as of `surveyedAt`. Calls that were cancelled since then are skipped. */
  private order: readonly Waiter[] = [];
  private next = 0;
  private surveyedAt = 0;

  constructor(
    private readonly waiting: WaitingCalls,
    private readonly dependencies: ReleaseDependencies,
  ) {
    this.policy = dependencies.policy ?? DEFAULT_RELEASE_POLICY;
  }

  /** Starts to send the waiting calls. `afterOutage`: false if they only waited for the channel to connect. */
  begin(afterOutage: boolean): void {
    if (this.running || this.waiting.size === 0) return;
    this.running = true;
    const { load, clock, withinMs } = this.dependencies;
    const now = clock.now();
    this.readyAt = now;
    const isPaced = afterOutage || this.waiting.anyPaced;
    // A longer outage leaves more waiting calls: because of a longer grace, or of `waitForReady: true`.
    this.boundMs = isPaced ? Math.max(withinMs, this.waiting.oldestMs(now) * this.policy.boundGraces) : 0;
    if (isPaced) {
      const usual = { now, usualCallsPerSecond: load.callsPerSecond(now), usualLatencyMs: load.medianMs };
      this.pace = new ReleasePace({ ...usual, demand: this.survey(now) }, this.policy);
    }
    // In a separate turn, because the caller is in the middle of a state change.
    this.tickNext();
  }

  /** Stops the release, because the channel is no longer usable or no call is waiting. */
  stop(): void {
    this.running = false;
    this.pace = undefined;
    this.order = [];
    this.next = 0;
    this.timer?.clear();
    this.timer = undefined;
  }

  /** Reports that a released call received a response. */
  answered(waiter: Released, latencyMs: number): void {
    this.pace?.answered(latencyMs, this.dependencies.clock.now(), kindOf(waiter));
  }

  /** Reports that a released call failed. */
  failed(waiter: Released): void {
    this.pace?.failed(this.dependencies.clock.now(), kindOf(waiter));
  }

  private readonly tick = (): void => {
    this.timer = undefined;
    const { clock, usable } = this.dependencies;
    const now = clock.now();
    if (now - this.dueAt > OWN_DELAY_MS) this.pace?.excuse(now);
    if (!this.running) return;
    if (!usable()) {
      this.stop();
      return;
    }
    if (now - this.surveyedAt >= this.policy.stepMs) this.pace?.require(this.survey(now));
    this.releaseSome(this.pace === undefined ? RELEASE_BATCH_SIZE : this.pace.take(now, this.waiting.size));
    if (this.waiting.size === 0) this.stop();
    else if (this.pace === undefined) this.tickNext();
    else this.tickIn(this.pace.msUntilNext(now));
  };

  private tickNext(): void {
    this.dueAt = Infinity;
    this.dependencies.clock.defer(this.tick);
  }

  private tickIn(ms: number): void {
    this.dueAt = this.dependencies.clock.now() + ms;
    this.timer = this.dependencies.clock.setTimer(this.tick, ms, true);
  }

  private releaseSome(allowed: number): void {
    const times = this.times(this.dependencies.clock.now());
    let remaining = allowed;
    while (remaining > 0) {
      const waiter = this.shift();
      if (waiter === undefined) return;
      // A call with less time left than calls usually take would only load the server. Its own deadline ends it.
      if (spareMs(waiter, times) <= 0) continue;
      remaining -= 1;
      if (!waiter.expectsPromptResponse) this.pace?.opened();
      waiter.release();
    }
  }

  private shift(): Waiter | undefined {
    while (this.waiting.size > 0) {
      const waiter = this.order[this.next];
      if (waiter === undefined) this.sort(this.dependencies.clock.now());
      else {
        this.next += 1;
        if (this.waiting.remove(waiter)) return waiter;
      }
    }
    return undefined;
  }

  /** Sorts the waiting calls, and returns the rates that they require. */
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
    const { readyAt, boundMs, dependencies, pace } = this;
    const latencyMs = Math.max(dependencies.load.medianMs, pace?.latencyMs ?? 0);
    return { now, epoch: dependencies.clock.epoch(), readyAt, boundMs, latencyMs };
  }
}

function kindOf({ expectsPromptResponse }: Released): ReleasedKind {
  return expectsPromptResponse ? 'unary' : 'stream';
}
