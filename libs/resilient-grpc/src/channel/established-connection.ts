import type { Socket } from 'node:net';
import type { ConnectionEnd } from '../call/connection-end.js';
import { ConnectionEndWatch, type WatchedSession } from './connection-end.js';
import type { ConnectionProbe } from './connection-probe.js';

/** Whoever a connection belongs to. */
export interface ConnectionOwner {
  probe(address: string): ConnectionProbe | undefined;
  /** Connections that are READY. */
  readonly connections: readonly EstablishedConnection[];
}

/** A connection that became READY, with the socket below it. */
export class EstablishedConnection {
  private watch: ConnectionEndWatch | undefined;
  private givenUp = false;

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
    // Nothing came from its peer, as where a keepalive ping got no answer.
    if (this.givenUp) return 'connection timed out';
    return this.watch?.end ?? 'unknown';
  }

  /** What runs on it is known. */
  carries(session: WatchedSession, isPinged: boolean): void {
    this.watch ??= new ConnectionEndWatch(session, isPinged);
  }

  /** Ends it at once: what is still on it fails as lost with its connection. */
  destroy(): void {
    this.givenUp = true;
    this.socket.destroy();
  }
}
