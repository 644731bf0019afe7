import type { Clock, Timer } from '../../time/clock.js';

/** A connection whose end may go unread. */
export interface UnreadConnection {
  /** Bytes that came from the peer so far. */
  readonly bytesRead: number;
  /** The kernel has no peer for it any more. */
  readonly isSevered: boolean;
  /** Ends it at once, as one that was reset. */
  destroy(because: 'connection reset'): void;
}

/** Two looks in a row that find the same end a connection; one alone may come before Node had its turn to read. */
const LOOK_MS = 250;

/**
 * Finds connections that the peer has reset and Node does not know of. Under TLS a write that meets the reset is dropped without
 * a word to HTTP/2 (`TLSWrap`); the next one waits for it for ever, and HTTP/2 reads nothing while it writes. The socket tells no
 * end, the channel stays READY, and every call on it hangs. Asleep, without a timer, while no call is under way.
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

  /** A call is under way. */
  wake(): void {
    if (this.timer !== undefined) return;
    const timer = this.clock.setTimer(() => {
      // After a standstill of this process the end, and the data before it, is read in this turn.
      this.clock.defer(() => {
        if (this.timer !== timer) return;
        this.timer = undefined;
        this.look();
        if (this.isAwake()) this.wake();
      });
    }, LOOK_MS);
    this.timer = timer;
  }

  stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  private look(): void {
    const before = this.severed;
    const severed = this.connections().filter(({ isSevered }) => isSevered);
    this.severed = new Map(severed.map((connection) => [connection, connection.bytesRead]));
    for (const [connection, bytesRead] of this.severed) {
      if (before.get(connection) === bytesRead) connection.destroy('connection reset');
    }
  }
}
