import type { Hearing } from '../../call/call-transport.js';
import type { Clock } from '../../time/clock.js';

/** Servers close connections that were idle for longer than that; under load it is never reached. */
const QUIET_MS = 100;
/** From the end that was read to a channel that is not READY it takes Node and grpc-js two turns or three. */
const END_TURNS = 4;

/**
 * What the peers of a channel said while nothing was asked of them is read before the next call. Where this process stood still their
 * end may lie unread, and what is sent then is lost as something that may have arrived.
 */
export class HearingOut implements Hearing {
  /** Milliseconds since 1970: in a machine that is suspended the monotonic clock may stand still too. */
  private usedAt = -Infinity;
  /** Who begins when it is over, in this order. */
  private waiting: (() => void)[] | undefined;

  constructor(
    private readonly connections: () => readonly { readonly isEnding: boolean }[],
    private readonly clock: Clock,
  ) {}

  /** An attempt begins or has ended. */
  used(): void {
    this.usedAt = this.clock.epoch();
  }

  get isDue(): boolean {
    return this.waiting !== undefined || Math.abs(this.clock.epoch() - this.usedAt) >= QUIET_MS;
  }

  hearOut(task: () => void): void {
    if (this.waiting !== undefined) {
      this.waiting.push(task);
      return;
    }
    this.waiting = [task];
    // A turn that was begun before the standstill does not ask again which sockets there is something to read of.
    this.clock.defer(() => {
      this.read(END_TURNS);
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
