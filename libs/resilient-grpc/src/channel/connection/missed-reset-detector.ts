import type { Clock, Timer } from '../../time/clock.js';

/** A connection whose end Node may miss. */
export interface UnreadConnection {
  /** Total number of bytes received from the peer. */
  readonly bytesRead: number;
  /** True if the kernel no longer has a peer for the socket. */
  readonly isReset: boolean;
  /** True if HTTP/2 has stopped on the connection and Node has not noticed. */
  readonly isStopped: boolean;
  /** Closes the connection immediately. */
  destroy(because: 'connection reset' | 'connection aborted'): void;
}

/** A reset must be found by two consecutive checks: at a single one, Node may not have had its turn to read yet. */
const POLL_INTERVAL_MS = 250;

/**
 * Finds and closes connections that are READY for grpc-js but no longer work, because Node does not read their end. Every call on such
 * a connection hangs. No timer runs while no call is active.
 *
 * - HTTP/2 has stopped after a protocol error of the peer (`isStopped`). One check is enough.
 * - The peer has reset a TLS connection. Node drops a write that fails because of the reset without notifying HTTP/2 (`TLSWrap`). The
 *   next write waits for it forever, and HTTP/2 does not read while a write is pending.
 */
export class MissedResetDetector {
  private timer: Timer | undefined;
  /** Connections that were reset at the last check, with the bytes received until then. */
  private severed: ReadonlyMap<UnreadConnection, number> = new Map();

  constructor(
    private readonly connections: () => readonly UnreadConnection[],
    private readonly isAwake: () => boolean,
    private readonly clock: Clock,
  ) {}

  /** Starts the checks, because a call begins. */
  wake(): void {
    if (this.timer !== undefined) return;
    // Checked immediately, so that the first call after an idle period does not wait for the timer.
    this.endStopped();
    this.lookLater();
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
  }

  private lookLater(): void {
    const timer = this.clock.setTimer(() => {
      // After this process was suspended, Node reads the end and the data before it in this turn.
      this.clock.defer(() => {
        if (this.timer !== timer) return;
        this.timer = undefined;
        this.look();
        if (this.isAwake()) this.lookLater();
      });
    }, POLL_INTERVAL_MS);
    this.timer = timer;
  }

  private endStopped(): void {
    for (const connection of this.connections()) if (connection.isStopped) connection.destroy('connection aborted');
  }

  private look(): void {
    this.endStopped();
    const before = this.severed;
    const severed = this.connections().filter(({ isReset }) => isReset);
    this.severed = new Map(severed.map((connection) => [connection, connection.bytesRead]));
    for (const [connection, bytesRead] of this.severed) {
      if (before.get(connection) === bytesRead) connection.destroy('connection reset');
    }
  }
}
