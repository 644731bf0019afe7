import { runningCalls } from '../quirks/subchannel.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { ObservedConnection } from './observed-connection.js';

/** Interval in milliseconds between two checks for calls on removed connections. */
const CHECK_INTERVAL_MS = 1_000;

/**
 * Keeps connections open after the policy has released them, until their last call has ended, and observes them until then. grpc-js itself
 * would begin to close them within 10 s. Running calls could then finish, but if keepalive is on, the next ping would fail, and grpc-js
 * would end all calls on the connection (grpc-node#3068).
 */
export class RemovedConnections {
  private readonly held = new Set<ObservedConnection>();
  private timer: Timer | undefined;

  /** Keeps `connection` open if calls run on it. */
  keep(connection: ObservedConnection, clock: Clock): void {
    if (runningCalls(connection.subchannel) === 0) return;
    if (!this.held.has(connection)) connection.subchannel.ref();
    this.held.add(connection);
    connection.watchEnd();
    this.checkLater(clock);
  }

  /** Releases all connections, so that grpc-js closes them. */
  release(): void {
    this.timer?.clear();
    this.timer = undefined;
    for (const connection of this.held) this.releaseOne(connection);
  }

  private check(clock: Clock): void {
    this.timer = undefined;
    for (const connection of this.held) if (runningCalls(connection.subchannel) === 0) this.releaseOne(connection);
    if (this.held.size > 0) this.checkLater(clock);
  }

  private releaseOne(connection: ObservedConnection): void {
    this.held.delete(connection);
    connection.unwatchEnd();
    connection.subchannel.unref();
  }

  private checkLater(clock: Clock): void {
    this.timer ??= clock.setTimer(() => this.check(clock), CHECK_INTERVAL_MS);
  }
}
