import type { Clock, Timer } from '../../time/clock.js';

/** A connection whose end may go unread. */
export interface UnreadConnection {
  /** Bytes that came from the peer so far. */
  readonly bytesRead: number;
  /** The kernel has no peer for it any more. */
  readonly isSevered: boolean;
  /** HTTP/2 has ended on it, and Node has not noticed. */
  readonly isStopped: boolean;
  /** Ends it at once. */
  destroy(because: 'connection reset' | 'connection aborted'): void;
}

/** Two looks in a row that find the same reset end a connection; one alone may come before Node had its turn to read. */
const LOOK_MS = 250;

/**
 * Finds connections that are READY for grpc-js and carry nothing any more, because Node does not read their end. Every call on one
 * hangs. Asleep, without a timer, while no call is active.
 *
 * - HTTP/2 has ended after a protocol error of the peer (`isStopped`). Found by one look.
 * - The peer has reset a connection with TLS. A write that meets the reset is dropped without notifying HTTP/2 (`TLSWrap`); the next
 *   one waits for it forever, and HTTP/2 reads nothing while it writes.
 */
export class UnreadEnds {
  private timer: Timer | undefined;
  /** What had been read of those that were severed at the last look. */
  private severed: ReadonlyMap<UnreadConnection, number> = new Map();

  constructor(
    private readonly connections: () => readonly UnreadConnection[],
    private readonly isAwake: () => boolean,
    private readonly clock: Clock,
  ) {}

  /** A call begins. */
  wake(): void {
    if (this.timer !== undefined) return;
    // The first call after an idle period does not wait for a timer.
    this.endStopped();
    this.lookLater();
  }

  stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  private lookLater(): void {
    const timer = this.clock.setTimer(() => {
      // After a standstill of this process the end, and the data before it, is read in this turn.
      this.clock.defer(() => {
        if (this.timer !== timer) return;
        this.timer = undefined;
        this.look();
        if (this.isAwake()) this.lookLater();
      });
    }, LOOK_MS);
    this.timer = timer;
  }

  private endStopped(): void {
    for (const connection of this.connections()) if (connection.isStopped) connection.destroy('connection aborted');
  }

  private look(): void {
    this.endStopped();
    const before = this.severed;
    const severed = this.connections().filter(({ isSevered }) => isSevered);
    this.severed = new Map(severed.map((connection) => [connection, connection.bytesRead]));
    for (const [connection, bytesRead] of this.severed) {
      if (before.get(connection) === bytesRead) connection.destroy('connection reset');
    }
  }
}
