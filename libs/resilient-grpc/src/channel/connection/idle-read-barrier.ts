import type { ReadBarrier } from '../../call/call-transport.js';
import type { Clock } from '../../time/clock.js';

/**
 * Idle time in milliseconds after which a call waits until pending socket data has been read. It is shorter than the idle timeouts of
 * servers, and longer than the gaps between the calls of a busy channel.
 */
const MIN_IDLE_MS = 100;
/** Maximum number of turns to wait after Node has read the end of a connection. Its channel is no longer READY after two or three turns. */
const MAX_END_TURNS = 4;

/**
 * Delays the first call after an idle period until pending socket data has been read. After a suspend, an unread GOAWAY may be waiting;
 * a call sent before it is read fails with `reachedServer: 'maybe'`.
 */
export class IdleReadBarrier implements ReadBarrier {
  /** Time of the last use in milliseconds since 1970, because the monotonic clock may stop while the machine is suspended. */
  private usedAt = -Infinity;
  /** Tasks to run after the read, in this order; `undefined` if no read is in progress. */
  private waiting: (() => void)[] | undefined;

  constructor(
    private readonly connections: () => readonly { readonly isEnding: boolean }[],
    private readonly clock: Clock,
  ) {}

  /** Records the current time as that of the last use. Called when an attempt starts and when it ends. */
  used(): void {
    this.usedAt = this.clock.epoch();
  }

  get isDue(): boolean {
    return this.waiting !== undefined || Math.abs(this.clock.epoch() - this.usedAt) >= MIN_IDLE_MS;
  }

  whenRead(task: () => void): void {
    if (this.waiting !== undefined) {
      this.waiting.push(task);
      return;
    }
    this.waiting = [task];
    // A turn that began before the suspend does not poll the sockets again, so Node reads them in the next turn.
    this.clock.defer(() => {
      this.read(MAX_END_TURNS);
    });
  }

  private read(turns: number): void {
    this.clock.defer(() => {
      if (turns > 0 && this.connections().some(({ isEnding }) => isEnding)) {
        this.read(turns - 1);
        return;
      }
      const tasks = this.waiting ?? [];
      this.waiting = undefined;
      for (const task of tasks) task();
    });
  }
}
