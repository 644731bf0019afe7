import type { experimental } from '@grpc/grpc-js';
import { runningCalls } from '../quirks/subchannel.js';
import type { Clock, Timer } from '../../time/clock.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Interval between two checks for calls on removed connections. */
const CHECK_INTERVAL_MS = 1_000;

/**
 * Keeps connections to removed addresses open until their last call has ended. grpc-js itself would begin to close them within 10 s.
 * Running calls could then finish, but if keepalive is on, the next ping would fail, and grpc-js would end all calls on the connection
 * (grpc-node#3068).
 */
export class RemovedConnections {
  private readonly held = new Set<SubchannelInterface>();
  private timer: Timer | undefined;

  /** Number of calls that are running on the connections. */
  get runningCalls(): number {
    return [...this.held].reduce((sum, subchannel) => sum + runningCalls(subchannel), 0);
  }

  /** Keeps the connection of `subchannel` open if calls run on it. */
  keep(subchannel: SubchannelInterface, clock: Clock): void {
    if (this.held.has(subchannel) || runningCalls(subchannel) === 0) return;
    subchannel.ref();
    this.held.add(subchannel);
    this.checkLater(clock);
  }

  /** Releases all connections, so that grpc-js closes them. */
  release(): void {
    this.timer?.clear();
    this.timer = undefined;
    for (const subchannel of this.held) subchannel.unref();
    this.held.clear();
  }

  private check(clock: Clock): void {
    this.timer = undefined;
    for (const subchannel of [...this.held]) {
      if (runningCalls(subchannel) > 0) continue;
      this.held.delete(subchannel);
      subchannel.unref();
    }
    if (this.held.size > 0) this.checkLater(clock);
  }

  private checkLater(clock: Clock): void {
    this.timer ??= clock.setTimer(() => this.check(clock), CHECK_INTERVAL_MS);
  }
}
