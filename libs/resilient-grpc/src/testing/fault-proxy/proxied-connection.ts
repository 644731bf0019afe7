import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { destroySocket, resetSocket } from '../tcp-listener.js';
import type { Direction, CloseMode, IdleCut } from './faults.js';
import { Pipe } from './pipe.js';

/** Callbacks through which a connection notifies its proxy. */
export interface ConnectionEvents {
  onPassed(direction: Direction, count: number): void;
  /**
   * Called before a write that uses up the allowed bytes. Returns how to end the connection after these bytes, or `undefined` to keep the
   * connection.
   */
  claimCut(): CloseMode | undefined;
  /** Called when both sockets are closed. */
  onClosed(): void;
}

/** A client connection and the corresponding upstream connection. */
export class ProxiedConnection {
  /** True if the connection was cut without notifying either side. */
  isSilenced = false;
  /** True until the client disconnects or the proxy ends the connection. */
  hasClient = true;
  readonly pipes: Readonly<Record<Direction, Pipe>>;
  private idleCut: IdleCut | undefined;
  private idleTimer: Timer | undefined;
  private lastByteAt: number;
  private openSockets = 2;

  constructor(
    private readonly client: Socket,
    private readonly upstream: Socket,
    private readonly clock: Clock,
    private readonly events: ConnectionEvents,
  ) {
    this.lastByteAt = clock.now();
    this.pipes = {
      'to-upstream': this.pipe('to-upstream', client, upstream),
      'to-client': this.pipe('to-client', upstream, client),
    };
    for (const socket of [client, upstream]) {
      socket.once('close', () => {
        if (socket === client) this.hasClient = false;
        this.openSockets -= 1;
        if (this.openSockets > 0) return;
        this.stop();
        events.onClosed();
      });
    }
  }

  cutWhenIdle(cut: IdleCut | undefined): void {
    this.idleCut = cut;
    this.armIdleTimer();
  }

  /** Ends both sides of the connection. */
  end(how: CloseMode): void {
    this.stop();
    for (const socket of [this.client, this.upstream]) {
      if (how === 'fin') socket.destroySoon();
      else resetSocket(socket);
    }
    this.hasClient = false;
  }

  /** Destroys both sockets, discarding unsent data, and resolves when they are closed. */
  async destroy(): Promise<void> {
    this.stop();
    await Promise.all([destroySocket(this.client), destroySocket(this.upstream)]);
  }

  private pipe(direction: Direction, source: Socket, sink: Socket): Pipe {
    return new Pipe(source, sink, this.clock, {
      onArrival: () => {
        this.lastByteAt = this.clock.now();
      },
      onPassed: (count) => this.events.onPassed(direction, count),
      onSourceEnded: () => {
        if (source === this.client) this.hasClient = false;
        if (this.isSilenced) source.destroy();
      },
      claimCut: () => this.events.claimCut(),
      onCut: (how) => this.end(how),
    });
  }

  private stop(): void {
    this.idleTimer?.clear();
    this.pipes['to-upstream'].close();
    this.pipes['to-client'].close();
  }

  private armIdleTimer(): void {
    this.idleTimer?.clear();
    const cut = this.idleCut;
    if (cut === undefined || this.isSilenced || this.openSockets === 0) return;
    const leftMs = this.lastByteAt + cut.ms - this.clock.now();
    // One timer that checks the last arrival and rearms itself. Resetting a timer on every read would be too expensive on busy connections.
    // A `PeerTimer`, because the connection is not necessarily idle after a pause of this process: bytes from the peers may be unread.
    this.idleTimer = new PeerTimer(this.clock, leftMs, () => {
      if (this.lastByteAt + cut.ms > this.clock.now()) this.armIdleTimer();
      else this.cut(cut);
    });
  }

  private cut(cut: IdleCut): void {
    if (cut.how !== 'silent') {
      this.end(cut.how);
      return;
    }
    this.isSilenced = true;
    this.stop();
  }
}
