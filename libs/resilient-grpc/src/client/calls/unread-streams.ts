import type { StreamDemand } from '../../call/stream-source.js';
import type { Clock, Timer } from '../../time/clock.js';
import { setPollTimer } from '../../time/peer-timer.js';

export interface UnreadStream {
  /** Called when no message has been requested for `unreadMs`. */
  unread(unreadMs: number): void;
}

interface TrackedStream {
  requested: number;
  since: number;
  reported: boolean;
  readonly demand: StreamDemand;
}

/** Number of checks within `afterMs`. */
const CHECKS_PER_PERIOD = 8;

/**
 * Detects streams that are read on demand but are no longer being read. The usual cause is code that abandoned an iterator without `break`
 * or `return()`. Streams are polled, so that reading costs nothing. The timer runs only while streams are monitored.
 */
export class UnreadStreams {
  /**
   * True if the call site of each new stream is recorded: in development always, and in production after the first unread stream, because
   * recording takes microseconds per stream.
   */
  traces = process.env['NODE_ENV'] !== 'production';
  private readonly watched = new Map<UnreadStream, TrackedStream>();
  private timer: Timer | undefined;

  constructor(
    private readonly afterMs: number,
    private readonly clock: Clock,
  ) {}

  watch(stream: UnreadStream, demand: StreamDemand): void {
    this.watched.set(stream, { requested: demand.requested, since: this.clock.now(), reported: false, demand });
    this.arm();
  }

  forget(stream: UnreadStream): void {
    if (!this.watched.delete(stream) || this.watched.size > 0 || this.timer === undefined) return;
    this.timer.clear();
    this.timer = undefined;
  }

  private arm(): void {
    if (this.timer !== undefined) return;
    this.timer = setPollTimer(this.clock, this.afterMs / CHECKS_PER_PERIOD, (stoppedMs) => {
      this.timer = undefined;
      this.check(stoppedMs);
      if (this.watched.size > 0) this.arm();
    });
  }

  /** @param stoppedMs time during which this process did not run, so no reader could request a message */
  private check(stoppedMs: number): void {
    const now = this.clock.now();
    // The last request occurred at an unknown time between two checks. The threshold is therefore one interval shorter, so that the stream
    // is reported on time, or at most one interval early.
    const unreadFor = this.afterMs * (1 - 1 / CHECKS_PER_PERIOD);
    for (const [stream, tracked] of this.watched) {
      const { requested, waiting } = tracked.demand;
      tracked.since = Math.min(tracked.since + stoppedMs, now);
      if (waiting || requested !== tracked.requested) {
        tracked.requested = requested;
        tracked.since = now;
        tracked.reported = false;
      } else if (!tracked.reported && now - tracked.since >= unreadFor) {
        tracked.reported = this.traces = true;
        stream.unread(now - tracked.since);
      }
    }
  }
}
