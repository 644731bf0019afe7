import type { StreamWait, WaitingCalls } from './waiting-calls.js';
import type { ReleasedCall, ReleasedCallResult, Waiter } from '../../call/call-transport.js';
import {
  inSendOrder,
  isTooLate,
  type ReleaseTimes,
  releaseDemand,
  ReleasePace,
  DEFAULT_RELEASE_POLICY,
  type ReleasePolicy,
} from '../../policy/queue-release/release-pace.js';
import type { LoadBaseline, UsualLatency } from '../../policy/queue-release/load-baseline.js';
import type { Clock, Timer } from '../../time/clock.js';

/**
 * Maximum number of unpaced calls that are released per event-loop turn. More would block the loop: on grpc-js's transport, a call costs 0.2 ms,
 * and the first responses would wait for the last call of all clients.
 */
const RELEASE_BATCH_SIZE = 32;
/**
 * Maximum delay of a tick, in milliseconds. A longer delay shows that the process was busy. Slow responses are then ignored for a short
 * time. Equals the fixed part of the tolerance for slow responses.
 */
const MAX_TICK_DELAY_MS = 20;
/**
 * Time in milliseconds within which a release goes on at the pace of the one before it. Each release would otherwise begin slowly, and a server
 * that is away for some milliseconds several times a second would never get all its calls.
 */
const CONTINUED_WITHIN_MS = 500;
/** Interval of the checks for a free stream, in milliseconds. */
const STREAM_POLL_MS = 250;
const NO_CALLS: ReadonlySet<Waiter> = new Set();

export interface ReleaseDependencies {
  readonly load: LoadBaseline;
  readonly clock: Clock;
  readonly usable: () => boolean;
  readonly hasFreeStream: () => boolean;
  /** Receives each wait for a free stream: its start, each check, and its end. */
  readonly streamWait: Pick<StreamWait, 'continues' | 'ended'>;
  /** Milliseconds after READY within which every waiting call is sent. A long wait extends this time. */
  readonly withinMs: number;
  /** Parameters of the release, which the fleet simulation varies. Default: `DEFAULT_RELEASE_POLICY`. */
  readonly policy?: ReleasePolicy;
}

/**
 * Sends waiting calls when the channel is usable. All calls are paced after an outage; otherwise, only those that must be sent at a limited
 * rate (`Waiter.rateLimited`). Paced calls are ordered by their deadlines and the release bound, and their pace follows the server's
 * responses. The other calls are sent without pacing, oldest first, in batches. In the fleet simulation, a recovering server receives 8
 * times its usual load if all waiting calls are sent at the same time.
 */
export class CallRelease {
  private readonly policy: ReleasePolicy;
  private pace: ReleasePace | undefined;
  private earlier = { provenPerSecond: 0, endedAt: -Infinity };
  private timer: Timer | undefined;
  private running = false;
  /** True after an outage: all calls are paced. */
  private pacesAll = false;
  /** Calls that `pace` released and that have not ended. The results of other calls must not change its counters. */
  private readonly released = new Set<object>();
  /** Usual latencies at the start of the release. Stored, because slow responses during the release raise the medians of `load`. */
  private usualLatency: UsualLatency = () => 0;
  /** True while waiting calls need only a free stream. New calls then join the end of the queue. */
  awaitsStream = false;
  /** Like `awaitsStream`, but stays true when a stream becomes free for only some of the calls. */
  private isStreamWait = false;
  private dueAt = Infinity;
  private readyAt = 0;
  /** Time after READY within which every paced call is sent. */
  private boundMs = 0;
  /** Send order of the paced calls, as of `surveyedAt`. Calls that have been cancelled since then are skipped. */
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
    this.pacesAll = afterOutage;
    this.readyAt = this.dependencies.clock.now();
    // In a separate turn, because the caller is in the middle of a state change.
    this.tickNext();
  }

  stop(): void {
    this.running = false;
    this.streamWaitEnded();
    if (this.pace !== undefined) {
      this.earlier = { provenPerSecond: this.pace.provenPerSecond, endedAt: this.dependencies.clock.now() };
    }
    this.pace = undefined;
    this.released.clear();
    this.order = [];
    this.next = 0;
    this.timer?.clear();
    this.timer = undefined;
  }

  ended(call: ReleasedCall, result: ReleasedCallResult): void {
    if (!this.released.delete(call)) return;
    const now = this.dependencies.clock.now();
    const kind = call.expectsPromptResponse ? 'unary' : 'stream';
    if (typeof result === 'number') this.pace?.answered(result, this.usualLatency(call.path), now, kind);
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
    if (this.pacedCount > 0) this.pace ??= this.startPace(now);
    if (now - this.surveyedAt >= this.policy.stepMs) this.pace?.require(this.survey(now));
    const { hasFreeStream } = this.dependencies;
    this.awaitsStream = !hasFreeStream();
    if (!this.awaitsStream) {
      // Paced calls first: at the stream limit, a steady flow of unpaced calls would otherwise take every free stream.
      if (this.pace !== undefined) this.releasePaced(this.pace, now);
      this.releaseUnpaced();
    }
    if (this.waiting.size === 0) this.stop();
    else if (hasFreeStream()) this.tickAgain(now);
    else this.awaitStream();
  };

  get isPaced(): boolean {
    return this.pace !== undefined;
  }

  private get pacedCount(): number {
    return this.waiting.size - this.unpaced.size;
  }

  /** Waiting calls that are not paced, oldest first. */
  private get unpaced(): ReadonlySet<Waiter> {
    return this.pacesAll ? NO_CALLS : this.waiting.unlimited;
  }

  private startPace(now: number): ReleasePace {
    const { load, withinMs } = this.dependencies;
    // The bound grows with the longest wait, because more calls are waiting after a long outage, for example with a long grace period
    // or `waitForReady: true`.
    this.boundMs = Math.max(withinMs, this.waiting.oldestMs(now) * this.policy.boundGraces);
    this.usualLatency = load.usualLatency();
    const usualCallsPerSecond = load.callsPerSecond(now);
    const { endedAt, provenPerSecond: proven } = this.earlier;
    const provenPerSecond = now - endedAt <= CONTINUED_WITHIN_MS ? proven : 0;
    return new ReleasePace({ now, usualCallsPerSecond, provenPerSecond, demand: this.survey(now) }, this.policy);
  }

  private tickAgain(now: number): void {
    this.streamWaitEnded();
    if (this.pace !== undefined) this.pace.isStreamLimited = false;
    if (this.pace === undefined || this.unpaced.size > 0) this.tickNext();
    else this.tickIn(this.pace.msUntilNext(now));
  }

  private awaitStream(): void {
    if (this.pace !== undefined) this.pace.isStreamLimited = true;
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

  /** Continues in the next turn, because a stream may be free. */
  private streamFreed(): void {
    if (this.timer === undefined || !(this.awaitsStream || this.unpaced.size > 0)) return;
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

  private releasePaced(pace: ReleasePace, now: number): void {
    const times = this.times(now);
    let remaining = pace.take(now, this.pacedCount);
    while (remaining > 0 && this.dependencies.hasFreeStream()) {
      const waiter = this.shift();
      if (waiter === undefined) break;
      if (waiter.deadline <= times.epoch) {
        // The deadline has passed, so the released call sends nothing and fails.
        waiter.release();
        continue;
      }
      // The call is not sent, because its response would be late. Its deadline ends the call.
      if (isTooLate(waiter, times)) continue;
      remaining -= 1;
      this.released.add(waiter);
      if (!waiter.expectsPromptResponse) pace.opened();
      waiter.release();
    }
    pace.putBack(remaining);
  }

  private releaseUnpaced(): void {
    const { hasFreeStream } = this.dependencies;
    let remaining = RELEASE_BATCH_SIZE;
    for (const waiter of this.unpaced) {
      if (remaining === 0 || !hasFreeStream()) return;
      this.waiting.remove(waiter);
      remaining -= 1;
      waiter.release();
    }
  }

  private shift(): Waiter | undefined {
    while (this.pacedCount > 0) {
      const waiter = this.order[this.next];
      if (waiter === undefined) this.sort(this.dependencies.clock.now());
      else {
        this.next += 1;
        if (this.waiting.remove(waiter)) return waiter;
      }
    }
    return undefined;
  }

  /** Sorts the paced calls, and returns the paces that they require. */
  private survey(now: number): ReturnType<typeof releaseDemand> {
    this.sort(now);
    return releaseDemand(this.order, this.times(now), this.policy);
  }

  private sort(now: number): void {
    this.surveyedAt = now;
    const { unpaced } = this;
    const paced = [...this.waiting].filter((waiter) => !unpaced.has(waiter));
    this.order = inSendOrder(paced, this.times(now));
    this.next = 0;
  }

  private times(now: number): ReleaseTimes {
    const { readyAt, boundMs, usualLatency } = this;
    const { delayMs = 0, isSlow = false } = this.pace ?? {};
    return { now, epoch: this.dependencies.clock.epoch(), readyAt, boundMs, usualLatency, delayMs, isSlow };
  }
}
