import type { Socket } from 'node:net';
import type { ConnectionEnd } from '../../call/connection-end.js';
import { ConnectionEndWatch, type WatchedSession } from './connection-end.js';
import type { ConnectionProbe } from './connection-probe.js';
import { isSevered } from '../quirks/socket-peer.js';
import { isStopped } from '../quirks/stopped-session.js';

/** Whoever a connection belongs to. */
export interface ConnectionOwner {
  probe(address: string): ConnectionProbe | undefined;
  /** Connections that are READY. */
  readonly connections: readonly EstablishedConnection[];
}

/** A connection that became READY, with the socket below it. */
export class EstablishedConnection {
  private watch: ConnectionEndWatch | undefined;
  private session: WatchedSession | undefined;
  private givenUp: ConnectionEnd | undefined;

  constructor(
    readonly address: string,
    readonly readyAt: number,
    private readonly socket: Socket,
    private readonly owner: ConnectionOwner,
  ) {}

  /** Bytes that came from the peer so far, of whatever kind. */
  get bytesRead(): number {
    return this.socket.bytesRead;
  }

  /** Those to other addresses. */
  get others(): readonly EstablishedConnection[] {
    return this.owner.connections.filter((other) => other !== this);
  }

  /** How to ask it; undefined while it is not READY, or cannot be asked. */
  probe(): ConnectionProbe | undefined {
    return this.owner.probe(this.address);
  }

  /** Why it has just ended. */
  get end(): ConnectionEnd {
    return this.givenUp ?? this.watch?.end ?? 'unknown';
  }

  /** Its socket is open. */
  get isOpen(): boolean {
    return !this.socket.closed;
  }

  /** The end of it was read, and is on its way to grpc-js. */
  get isEnding(): boolean {
    return this.socket.readableEnded || this.socket.destroyed;
  }

  /** The kernel has no peer for it any more, whatever Node knows. */
  get isSevered(): boolean {
    return isSevered(this.socket);
  }

  /** HTTP/2 has ended on it, and Node has not noticed. */
  get isStopped(): boolean {
    return this.session !== undefined && !this.socket.destroyed && isStopped(this.session);
  }

  /** What runs on it is known. */
  carries(session: WatchedSession, isPinged: boolean): void {
    this.session ??= session;
    this.watch ??= new ConnectionEndWatch(session, isPinged);
  }

  /**
   * Ends it at once: what is still on it fails as lost with its connection. Where nothing else is said nothing came from its peer,
   * as where a keepalive ping got no answer.
   */
  destroy(because: ConnectionEnd = 'connection timed out'): void {
    this.givenUp = because;
    this.socket.destroy();
  }
}
