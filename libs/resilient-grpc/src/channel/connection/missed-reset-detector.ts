import type { Clock, Timer } from '../../time/clock.js';

/** A connection whose end Node might not report. */
export interface UnreadConnection {
  /** Total number of bytes received from the peer. */
  readonly bytesRead: number;
  /** Records how many bytes have been received, for the error of an attempt that takes too long. */
  checkReceived(now: number): void;
  /** True if the kernel no longer has a peer for the socket. */
  readonly isReset: boolean;
  /** True if HTTP/2 has stopped on the connection and Node has not reported the end. */
  readonly isStopped: boolean;
  /** Closes the connection immediately. */
  destroy(because: 'connection reset' | 'connection aborted'): void;
}

/**
 * Interval of the checks, in milliseconds. A reset counts only if two consecutive checks find it and no data is read between them, because
 * Node might not have read the socket before the first check.
 */
const POLL_INTERVAL_MS = 250;

/**
 * Closes connections that no longer work, but are still open because Node did not report their end. Every call on these connections hangs.
 * The timer runs only while calls are active. The detector closes a connection in two cases:
 *
 * - HTTP/2 has stopped after a protocol error by the peer (`isStopped`). One check is enough.
 * - The peer has reset a TLS connection. If a write fails because of the reset, Node drops the write without notifying HTTP/2 (`TLSWrap`).
 * The next write then waits forever for the dropped one, and HTTP/2 does not read while a write is pending.
 */
export class MissedResetDetector {
  private timer: Timer | undefined;
  /** Connections that were reset at the last check, with the number of bytes received until then. */
  private resetConnections: ReadonlyMap<UnreadConnection, number> = new Map();

  constructor(
    private readonly connections: () => readonly UnreadConnection[],
    private readonly hasActiveCalls: () => boolean,
    private readonly clock: Clock,
  ) {}

  /** Starts the checks when a call begins. */
  wake(): void {
    if (this.timer !== undefined) return;
    // Checked immediately, so that the first call after an idle period does not wait for the timer.
    this.endStopped();
    this.scheduleCheck();
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
  }

  private scheduleCheck(): void {
    const timer = this.clock.setTimer(() => {
      // Deferred, because Node reads the remaining data and the end of the connection in this turn if this process was suspended.
      this.clock.defer(() => {
        if (this.timer !== timer) return;
        this.timer = undefined;
        this.check();
        if (this.hasActiveCalls()) this.scheduleCheck();
      });
    }, POLL_INTERVAL_MS);
    this.timer = timer;
  }

  private endStopped(): void {
    for (const connection of this.connections()) if (connection.isStopped) connection.destroy('connection aborted');
  }

  private check(): void {
    this.endStopped();
    const now = this.clock.now();
    for (const connection of this.connections()) connection.checkReceived(now);
    const before = this.resetConnections;
    const reset = this.connections().filter(({ isReset }) => isReset);
    this.resetConnections = new Map(reset.map((connection) => [connection, connection.bytesRead]));
    for (const [connection, bytesRead] of this.resetConnections) {
      if (before.get(connection) === bytesRead) connection.destroy('connection reset');
    }
  }
}
