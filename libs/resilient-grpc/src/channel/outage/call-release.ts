import type { StreamWait } from './stream-wait.js';
import type { WaitingCalls } from './waiting-calls.js';
import type { ReleasedCall, ReleasedCallResult, Waiter } from '../../call/call-transport.js';
import { inSendOrder, spareMs, type ReleaseTimes, releaseDemand } from '../../policy/queue-release/release-demand.js';
import { ReleasePace } from '../../policy/queue-release/release-pace.js';
import { DEFAULT_RELEASE_POLICY, type ReleasePolicy } from '../../policy/queue-release/release-policy.js';
import type { LoadBaseline } from '../../policy/queue-release/load-baseline.js';
import type { Clock, Timer } from '../../time/clock.js';

/** Maximum number of calls released per event-loop turn if no pace applies. More would block the loop. */
const RELEASE_BATCH_SIZE = 256;
/** Maximum delay of a tick. A longer delay shows that the process was busy. Equals the fixed part of the tolerance for slow responses. */
const MAX_TICK_DELAY_MS = 20;
/** Interval of the checks for a free stream. The end of a call starts a check immediately, but the end of a health Watch does not. */
const STREAM_POLL_MS = 250;

/** Dependencies of a release. */
export interface ReleaseDependencies {
  readonly load: LoadBaseline;
  readonly clock: Clock;
  /** True if calls may be sent. */
  readonly usable: () => boolean;
  /** True if a call finds a free stream. */
  readonly hasFreeStream: () => boolean;
  /** Receives each wait for a free stream: its start, each check, and its end. */
  readonly streamWait: Pick<StreamWait, 'continues' | 'ended'>;
  /** Milliseconds after READY within which every waiting call is sent. A long wait extends this time. */
  readonly withinMs: number;
  /** Varied by the fleet simulation. Default: `DEFAULT_RELEASE_POLICY`. */
  readonly policy?: ReleasePolicy;
}

/**
 * Sends waiting calls when the channel is usable. After an outage, or if a waiting call must be sent at a limited rate
 * (`Waiter.rateLimited`), calls are ordered by their deadlines and the release bound, and paced by the server's responses. Otherwise, the
 * oldest call is sent first. In the fleet simulation, a recovering server receives 8 times its usual load if all waiting calls are sent at
 * once.
 */
export class CallRelease {
  private readonly policy: ReleasePolicy;
  private pace: ReleasePace | undefined;
  private timer: Timer | undefined;
  private running = false;
  /** True while waiting calls need only a free stream. New calls then join the end of the queue. */
  awaitsStream = false;
  /** Like `awaitsStream`, but stays true when a stream becomes free for only some of the calls. */
  private isStreamWait = false;
  /** Due time of the next tick. */
  private dueAt = Infinity;
  private readyAt = 0;
  /** Time after READY within which every waiting call is sent; 0 if no pace applies. */
  private boundMs = 0;
  /** Send order, as of `surveyedAt`. Calls that have been cancelled since then are skipped. */
  private order: readonly Waiter[] = [];
  private next = 0;
  private surveyedAt = 0;

  constructor(
    private readonly waiting: WaitingCalls,
    private readonly dependencies: ReleaseDependencies,
  ) {
    this.policy = dependencies.policy ?? DEFAULT_RELEASE_POLICY;
  }

  /** Starts to send the waiting calls. `afterOutage` is false if they waited only for the channel to connect, or for a free stream. */
  begin(afterOutage: boolean): void {
    if (this.waiting.size === 0) return;
    if (this.running) {
      this.streamFreed();
      return;
    }
    this.running = true;
    const { load, clock, withinMs } = this.dependencies;
    const now = clock.now();
    this.readyAt = now;
    const isPaced = afterOutage || this.waiting.hasRateLimited;
    // The bound grows with the longest wait, because more calls are waiting after a long outage, for example with a long grace period
    // or `waitForReady: true`.
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
    this.streamWaitEnded();
    this.pace = undefined;
    this.order = [];
    this.next = 0;
    this.timer?.clear();
    this.timer = undefined;
  }

  /** Reports the end of a released call. */
  ended({ expectsPromptResponse, path }: ReleasedCall, result: ReleasedCallResult): void {
    const { clock, load } = this.dependencies;
    const now = clock.now();
    const kind = expectsPromptResponse ? 'unary' : 'stream';
    if (typeof result === 'number') this.pace?.answered(result, now, kind, load.medianOf(path));
    else this.pace?.[result](now, kind);
  }

  private readonly tick = (): void => {
    this.timer = undefined;
    const { clock, usable } = this.dependencies;
    const now = clock.now();
    if (now - this.dueAt > MAX_TICK_DELAY_MS) this.pace?.excuse(now);
    if (!this.running) return;
    if (!usable()) {
      this.stop();
      return;
    }
    if (now - this.surveyedAt >= this.policy.stepMs) this.pace?.require(this.survey(now));
    const { hasFreeStream } = this.dependencies;
    this.awaitsStream = !hasFreeStream();
    if (!this.awaitsStream) {
      this.releaseSome(this.pace === undefined ? RELEASE_BATCH_SIZE : this.pace.take(now, this.waiting.size));
    }
    if (this.waiting.size === 0) this.stop();
    else if (hasFreeStream()) this.tickAgain(now);
    else this.awaitStream();
  };

  private tickAgain(now: number): void {
    this.streamWaitEnded();
    if (this.pace === undefined) this.tickNext();
    else this.tickIn(this.pace.msUntilNext(now));
  }

  private awaitStream(): void {
    this.awaitsStream = true;
    this.isStreamWait = true;
    this.dependencies.streamWait.continues();
    this.tickIn(STREAM_POLL_MS);
  }

  private streamWaitEnded(): void {
    this.awaitsStream = false;
    if (!this.isStreamWait) return;
    this.isStreamWait = false;
    this.dependencies.streamWait.ended();
  }

  /** Continues in the next turn, because a stream may be free. Further reports in this turn have no effect. */
  private streamFreed(): void {
    if (!this.awaitsStream || this.timer === undefined) return;
    this.timer.clear();
    this.timer = undefined;
    this.tickNext();
  }

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
    while (remaining > 0 && this.dependencies.hasFreeStream()) {
      const waiter = this.shift();
      if (waiter === undefined) return;
      // A call with less time left than calls usually take would only add load to the server. Its own deadline ends it.
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

  /** Sorts the waiting calls, and returns the paces that they require. */
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
