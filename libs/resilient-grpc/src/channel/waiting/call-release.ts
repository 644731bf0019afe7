import type { WaitingCalls } from './waiting-calls.js';
import type { Waiter } from '../../call/call-transport.js';
import { ReleasePace, type ReleasedKind } from '../../policy/release/release-pace.js';
import { DEFAULT_RELEASE_POLICY, type ReleasePolicy } from '../../policy/release/release-policy.js';
import type { UsualLoad } from '../../policy/release/usual-load.js';
import type { Clock, Timer } from '../../time/clock.js';

/** After a cold start nothing has been overrun: waiting calls go out in slices, so that the event loop breathes. */
const SLICE = 256;
/** As much as a slow answer is allowed beyond the usual. */
const OWN_DELAY_MS = 20;

type Released = Pick<Waiter, 'answerDue'>;

/**
 * Lets waiting calls out once the channel is usable: newest first, after an outage at a pace that the server is seen to bear
 * (released at once, a fleet's held calls are 36 times a recovering server's usual load).
 */
export class CallRelease {
  private pace: ReleasePace | undefined;
  private timer: Timer | undefined;
  private running = false;
  /** When the next tick is due: a late one shows that this process is busy with other things. */
  private dueAt = Infinity;

  constructor(
    private readonly waiting: WaitingCalls,
    private readonly load: UsualLoad,
    private readonly clock: Clock,
    private readonly usable: () => boolean,
    private readonly policy: ReleasePolicy = DEFAULT_RELEASE_POLICY,
  ) {}

  /** The channel is usable. What waits was held by an outage, or for a connection that was only being made. */
  begin(afterOutage: boolean): void {
    if (this.running || this.waiting.size === 0) return;
    this.running = true;
    const { load } = this;
    const now = this.clock.now();
    const usual = { now, usualCallsPerSecond: load.callsPerSecond(now), usualLatencyMs: load.medianMs };
    this.pace = afterOutage || this.waiting.anyPaced ? new ReleasePace(usual, this.policy) : undefined;
    // In a turn of its own: whoever brought the change of state is still in the middle of it.
    this.tickNext();
  }

  /** The channel is no longer usable. */
  stop(): void {
    this.running = false;
    this.pace = undefined;
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  /** A call that had waited was answered. */
  answered(waiter: Released, latencyMs: number): void {
    this.pace?.answered(latencyMs, this.clock.now(), kindOf(waiter));
  }

  /** A call that had waited failed. */
  failed(waiter: Released): void {
    this.pace?.failed(this.clock.now(), kindOf(waiter));
  }

  private readonly tick = (): void => {
    this.timer = undefined;
    const now = this.clock.now();
    if (now - this.dueAt > OWN_DELAY_MS) this.pace?.excuse(now);
    if (!this.running) return;
    if (!this.usable()) {
      this.stop();
      return;
    }
    this.releaseSome(this.pace === undefined ? SLICE : this.pace.take(now, this.waiting.size));
    if (this.waiting.size === 0) this.stop();
    else if (this.pace === undefined) this.tickNext();
    else this.tickIn(this.pace.msUntilNext(now));
  };

  private tickNext(): void {
    this.dueAt = Infinity;
    this.clock.defer(this.tick);
  }

  private tickIn(ms: number): void {
    this.dueAt = this.clock.now() + ms;
    this.timer = this.clock.setTimer(this.tick, ms, true);
  }

  private releaseSome(allowed: number): void {
    let left = allowed;
    while (left > 0) {
      const waiter = this.waiting.pop();
      if (waiter === undefined) return;
      // Who has less time than a call takes would only load the server; its own deadline ends it.
      if (!this.worthwhile(waiter)) continue;
      left -= 1;
      if (!waiter.answerDue) this.pace?.opened();
      waiter.release();
    }
  }

  private worthwhile(waiter: Waiter): boolean {
    return waiter.deadline === Infinity || waiter.deadline - this.clock.epoch() > this.load.medianMs;
  }
}

function kindOf({ answerDue }: Released): ReleasedKind {
  return answerDue ? 'unary' : 'stream';
}
