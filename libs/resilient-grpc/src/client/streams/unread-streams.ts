import type { StreamDemand } from '../../call/stream-demand.js';
import type { Clock, Timer } from '../../time/clock.js';
import { setPollTimer } from '../../time/peer-timer.js';

/** A stream that is monitored for reads. */
export interface UnreadStream {
  /** Called if no message has been requested for `unreadMs`. */
  unread(unreadMs: number): void;
}

interface TrackedStream {
  asked: number;
  since: number;
  reported: boolean;
  readonly demand: StreamDemand;
}

/** Number of checks within the time after which a stream is reported. */
const LOOKS = 8;

/**
 * Detects streams that are read on demand and no longer read: a `for await` loop that was abandoned without `break`, or a forgotten
 * iterator. Streams are polled, so that reading costs nothing. The timer runs only while streams are monitored.
 */
export class UnreadStreams {
  private readonly watched = new Map<UnreadStream, TrackedStream>();
  private timer: Timer | undefined;

  /** @param afterMs Infinity disables the detection */
  constructor(
    private readonly afterMs: number,
    private readonly clock: Clock,
  ) {}

  watch(stream: UnreadStream, demand: StreamDemand): void {
    if (this.afterMs === Infinity) return;
    this.watched.set(stream, { asked: demand.requested, since: this.clock.now(), reported: false, demand });
    this.arm();
  }

  forget(stream: UnreadStream): void {
    if (!this.watched.delete(stream) || this.watched.size > 0 || this.timer === undefined) return;
    this.timer.clear();
    this.timer = undefined;
  }

  private arm(): void {
    if (this.timer !== undefined) return;
    this.timer = setPollTimer(this.clock, this.afterMs / LOOKS, (stoppedMs) => {
      this.timer = undefined;
      this.look(stoppedMs);
      if (this.watched.size > 0) this.arm();
    });
  }

  /** @param stoppedMs time in which this process did not run, so that no reader could request a message */
  private look(stoppedMs: number): void {
    const now = this.clock.now();
    // The last request occurred at an unknown time between two checks. The stream is reported on time, or at most one check early.
    const unreadFor = this.afterMs * (1 - 1 / LOOKS);
    for (const [stream, seen] of this.watched) {
      const { requested: asked, waiting } = seen.demand;
      seen.since = Math.min(seen.since + stoppedMs, now);
      if (waiting || asked !== seen.asked) {
        seen.asked = asked;
        seen.since = now;
        seen.reported = false;
      } else if (!seen.reported && now - seen.since >= unreadFor) {
        seen.reported = true;
        stream.unread(now - seen.since);
      }
    }
  }
}
