import type { Socket } from 'node:net';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { ClientConnection } from '../http2/client-connection.js';
import type { ConnectionSettings } from '../http2/connection.js';
import type { ClientOwner, Goaway } from '../http2/events.js';
import { CLOSE_TIMEOUT_MS, Http2Socket, type Keepalive, type SocketEnd } from './http2-socket.js';

export type { SocketEnd } from './http2-socket.js';

/** Receives the events of a connection. */
export interface SocketOwner {
  /** The peer has sent its settings, so the connection can carry calls. */
  ready(): void;
  /** The peer's settings have changed. */
  settingsChanged(): void;
  goawayReceived(goaway: Goaway): void;
  /** Few stream ids are left. The owner then drains the connection. */
  idsRunOut(): void;
  ended(end: SocketEnd): void;
}

/**
 * Memory into which all sockets of this thread read. Its content is valid until the callback of a read returns, and nothing that a
 * connection passes on refers to it.
 */
const readBuffer = Buffer.allocUnsafeSlow(262_144);

/** A client's connection and its socket. */
export class SocketConnection extends Http2Socket implements ClientOwner {
  readonly http2: ClientConnection;
  /** Option of `net.connect` for a socket that is passed to `start()` as it is, without TLS. */
  readonly onread = {
    buffer: readBuffer,
    callback: (bytes: number, buffer: Uint8Array): boolean => {
      this.trace?.receive(buffer.subarray(0, bytes));
      this.readAt = this.clock.now();
      // Safe: it is `readBuffer`.
      this.http2.receive(buffer as Buffer, 0, bytes);
      return true;
    },
  };
  private isDraining = false;

  constructor(
    settings: ConnectionSettings,
    protected readonly owner: SocketOwner,
    clock: Clock,
    keepalive?: Keepalive,
  ) {
    super(clock, keepalive, false);
    this.http2 = new ClientConnection(this, settings, clock);
  }

  /**
   * Uses `socket`, which is connected and secured.
   *
   * @param isRead true if the socket was opened with `onread`
   */
  start(socket: Socket, isRead: boolean): void {
    this.attach(socket, isRead);
    if (this.calls === 0) socket.unref();
    this.flush();
    if (this.keepalive?.isAlwaysOn === true) this.pingLater();
  }

  /** A call begins that keeps the process running. `callEnded()` must follow. */
  callStarted(): void {
    this.calls += 1;
    if (this.calls > 1) return;
    this.socket?.ref();
    this.pingForCalls();
  }

  callEnded(): void {
    this.calls -= 1;
    if (this.calls === 0) this.socket?.unref();
    this.closeIfUnused();
  }

  /** Closes the connection when its last stream has ended. No stream may be opened any more. */
  drain(): void {
    this.isDraining = true;
    this.closeIfUnused();
  }

  closeIfUnused(): void {
    if (this.isDraining && this.http2.openStreams === 0) this.http2.end(undefined);
  }

  // ── of the connection ──

  settingsReceived(isFirst: boolean): void {
    if (isFirst) this.owner.ready();
    else this.owner.settingsChanged();
  }

  goawayReceived(goaway: Goaway): void {
    this.owner.goawayReceived(goaway);
    // After the connection has failed the streams that the peer refuses.
    process.nextTick(() => this.drain());
    if (goaway.code === HTTP2_ERROR_CODES.NO_ERROR) return;
    this.closeTimer ??= new PeerTimer(this.clock, CLOSE_TIMEOUT_MS, () => {
      this.http2.lost('the peer did not close the connection', 'close-timeout');
    });
  }

  idsRunOut(): void {
    // The caller is opening a stream.
    process.nextTick(() => this.owner.idsRunOut());
  }
}
