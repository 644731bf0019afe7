import type { StreamDemand } from '../../call/stream-demand.js';
import type { Clock, Timer } from '../../time/clock.js';
import { LATE_MS } from '../../time/peer-timer.js';

/** A stream that is watched. */
export interface UnreadStream {
  /** Nobody has asked it for a message for `unreadMs`. */
  unread(unreadMs: number): void;
}

interface Watched {
  asked: number;
  since: number;
  told: boolean;
  readonly demand: StreamDemand;
}

/** How often streams are looked at while the time passes in which somebody should have read them. */
const LOOKS = 8;

/**
 * Finds streams that are read on demand and that nobody reads any more: a `for await` that was left without `break`, an iterator that
 * was forgotten. Streams are looked at now and then, so that reading costs nothing; the timer runs only while there are some.
 */
export class UnreadStreams {
  private readonly watched = new Map<UnreadStream, Watched>();
  private timer: Timer | undefined;

  /** @param afterMs Infinity: they are not looked for */
  constructor(
    private readonly afterMs: number,
    private readonly clock: Clock,
  ) {}

  watch(stream: UnreadStream, demand: StreamDemand): void {
    if (this.afterMs === Infinity) return;
    this.watched.set(stream, { asked: demand.asked, since: this.clock.now(), told: false, demand });
    this.arm();
  }

  forget(stream: UnreadStream): void {
    if (!this.watched.delete(stream) || this.watched.size > 0 || this.timer === undefined) return;
    this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  private arm(): void {
    if (this.timer !== undefined) return;
    const lookMs = this.afterMs / LOOKS;
    const dueAt = this.clock.now() + lookMs;
    this.timer = this.clock.setTimer(() => {
      this.timer = undefined;
      const lateMs = this.clock.now() - dueAt;
      this.look(lateMs > LATE_MS ? lateMs : 0);
      if (this.watched.size > 0) this.arm();
    }, lookMs);
  }

  /** @param stoodStillMs how long no reader of this process could ask for a message */
  private look(stoodStillMs: number): void {
    const now = this.clock.now();
    // It was asked for something between two looks, nobody knows when: told by the time named, and at most a look too early.
    const unreadFor = this.afterMs * (1 - 1 / LOOKS);
    for (const [stream, seen] of this.watched) {
      const { asked, waiting } = seen.demand;
      seen.since = Math.min(seen.since + stoodStillMs, now);
      if (waiting || asked !== seen.asked) {
        seen.asked = asked;
        seen.since = now;
        seen.told = false;
      } else if (!seen.told && now - seen.since >= unreadFor) {
        seen.told = true;
        stream.unread(now - seen.since);
      }
    }
  }
}
