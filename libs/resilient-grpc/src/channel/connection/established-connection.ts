import type { Socket } from 'node:net';
import type { ConnectionEnd } from '../../call/call-event.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import type { LivenessProbe } from './liveness-probe.js';
import { checkReceived, silenceMs, type ReceivedBytes } from '../../policy/deadline/silent-peer.js';

/** A connection that became READY, with its socket. */
export class EstablishedConnection {
  private session: SubchannelConnection | undefined;
  private isUnresponsive = false;
  private received: ReceivedBytes | undefined;

  constructor(
    readonly address: string,
    readonly readyAt: number,
    private readonly socket: Socket,
    /** The READY connections of the channel. */
    private readonly channel: { readonly ready: readonly EstablishedConnection[] },
    private readonly openProbe: (address: string) => LivenessProbe | undefined,
  ) {}

  /** Total number of bytes received from the peer. */
  get bytesRead(): number {
    return this.socket.bytesRead;
  }

  /** Records how many bytes have been received. Called periodically while calls are active. */
  checkReceived(now: number): void {
    this.received = checkReceived(this.received, this.bytesRead, now);
  }

  /**
   * Milliseconds without received data during an attempt that began at `startedAt`, counted from `countFrom` if the silence began earlier;
   * `undefined` if unknown, if below 250 ms, or if the silence began more than 500 ms after `startedAt`.
   */
  silenceMs(startedAt: number, now: number, countFrom = startedAt): number | undefined {
    if (startedAt < this.readyAt) return undefined;
    return silenceMs(this.received, this.bytesRead, startedAt, now, countFrom);
  }

  /** The other READY connections of the channel. */
  get others(): readonly EstablishedConnection[] {
    return this.channel.ready.filter((other) => other !== this);
  }

  /** Creates a liveness probe; `undefined` if the connection is not READY, or cannot be probed. */
  probe(): LivenessProbe | undefined {
    return this.openProbe(this.address);
  }

  /** Reason for the end of the connection. Valid only if read immediately after the end. */
  get end(): ConnectionEnd {
    return this.isUnresponsive ? 'connection timed out' : (this.session?.end ?? 'unknown');
  }

  /** Records that the peer no longer responded, as evidence for the calls on the connection. */
  recordTimeout(): void {
    this.session?.recordTimeout();
  }

  /** True if the socket is open. */
  get isOpen(): boolean {
    return !this.socket.closed;
  }

  /** True if Node has read the data of the socket to its end, or has destroyed the socket. The channel might not have been notified yet. */
  get isEnding(): boolean {
    return this.socket.readableEnded || this.socket.destroyed;
  }

  /** Sets the HTTP/2 connection; later calls are ignored. */
  setSession(session: SubchannelConnection): void {
    this.session ??= session;
  }

  /** Closes the connection immediately, because the peer did not respond to a liveness probe. Its calls fail like calls on a lost one. */
  destroy(): void {
    this.isUnresponsive = true;
    // A reset, because a peer that does not respond would not acknowledge the end, either. Unix sockets, which have no port, have no resets.
    if (this.socket.remotePort === undefined) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }
}
