import type { Socket } from 'node:net';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { setImmediate, type Clock, type Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { Http2Connection, type ConnectionSettings } from '../http2/connection.js';
import type { ConnectionEnd, ConnectionOwner, Goaway } from '../http2/events.js';
import { FrameTrace, isTraced } from './frame-trace.js';

/** Keepalive pings (gRFC A8). */
export interface Keepalive {
  /** Milliseconds between the answer to a ping and the next ping. */
  readonly intervalMs: number;
  /** Milliseconds within which the peer must answer. */
  readonly timeoutMs: number;
  /** True if pings are sent without open calls, too. */
  readonly isAlwaysOn: boolean;
}

/** End of a connection; `error` is the error of its socket. */
export interface SocketEnd extends ConnectionEnd {
  readonly error: NodeJS.ErrnoException | undefined;
  /** True if the peer did not answer a keepalive ping. */
  readonly isTimeout: boolean;
}

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
 * Milliseconds that the peer has to close a connection that this side has closed, or on which the peer has reported an error by GOAWAY. Calls
 * may still end within this time; afterward, nothing can be expected of the peer.
 */
const CLOSE_TIMEOUT_MS = 2_000;
/**
 * Memory into which all sockets of this thread read. Its content is valid until the callback of a read returns, and nothing that a
 * connection passes on refers to it.
 */
const readBuffer = Buffer.allocUnsafeSlow(262_144);

/** An HTTP/2 connection and its socket. What is sent within a turn of the event loop leaves in one write. */
export class SocketConnection implements ConnectionOwner {
  readonly http2: Http2Connection;
  /** Option of `net.connect` for a socket that is passed to `start()` as it is, without TLS. */
  readonly onread = {
    buffer: readBuffer,
    callback: (bytes: number, buffer: Uint8Array): boolean => {
      this.trace?.receive(buffer.subarray(0, bytes));
      // Safe: it is `readBuffer`.
      this.http2.receive(buffer as Buffer, 0, bytes);
      return true;
    },
  };
  private readonly trace = isTraced() ? new FrameTrace() : undefined;
  private socket: Socket | undefined;
  private error: NodeJS.ErrnoException | undefined;
  private isTimeout = false;
  private isDraining = false;
  /** Calls that keep the process running. */
  private calls = 0;
  private pingTimer: Timer | undefined;
  private closeTimer: Timer | undefined;
  /** True if a ping was due while no call was open. */
  private isPingDue = false;

  constructor(
    settings: ConnectionSettings,
    private readonly owner: SocketOwner,
    private readonly clock: Clock,
    private readonly keepalive?: Keepalive,
  ) {
    this.http2 = new Http2Connection(this, settings, clock);
  }

  /**
   * Uses `socket`, which is connected and secured.
   *
   * @param isRead true if the socket was opened with `onread`
   */
  start(socket: Socket, isRead: boolean): void {
    this.socket = socket;
    if (!isRead) {
      socket.on('data', (bytes) => {
        this.trace?.receive(bytes);
        this.http2.receive(bytes);
      });
    }
    socket.on('drain', () => {
      this.http2.drained();
      this.flush();
    });
    socket.on('error', (error) => {
      this.error ??= error;
    });
    socket.on('end', () => this.http2.lost('the peer closed the connection'));
    socket.on('close', () => {
      this.closeTimer?.clear();
      this.http2.lost(this.error?.message ?? 'the connection was closed');
    });
    if (this.calls === 0) socket.unref();
    this.flush();
    if (this.keepalive?.isAlwaysOn === true) this.pingLater();
  }

  /** A call begins that keeps the process running. `callEnded()` must follow. */
  callStarted(): void {
    this.calls += 1;
    if (this.calls > 1) return;
    this.socket?.ref();
    if (this.isPingDue) this.ping();
    else this.pingLater();
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
    if (this.isDraining && this.http2.openStreams === 0) this.http2.end();
  }

  // ── keepalive ──

  private pingLater(): void {
    const { keepalive } = this;
    if (keepalive === undefined || this.pingTimer !== undefined || this.http2.isEnded) return;
    this.pingTimer = this.clock.setTimer(() => {
      this.pingTimer = undefined;
      if (keepalive.isAlwaysOn || this.calls > 0) this.ping();
      else this.isPingDue = true;
    }, keepalive.intervalMs);
  }

  private ping(): void {
    const { keepalive } = this;
    this.isPingDue = false;
    if (keepalive === undefined || this.http2.isEnded) return;
    this.pingTimer = new PeerTimer(this.clock, keepalive.timeoutMs, () => {
      this.isTimeout = true;
      this.http2.lost('the peer did not answer a keepalive ping');
    });
    this.http2.ping(() => {
      this.pingTimer?.clear();
      this.pingTimer = undefined;
      this.pingLater();
    });
  }

  // ── output ──

  wake(): void {
    // Not before the event loop has read: if the peer has closed the connection, a failing write would discard the GOAWAY that has arrived.
    setImmediate(this.flush);
  }

  private readonly flush = (): void => {
    const { socket, http2 } = this;
    if (socket?.writable !== true) return;
    const chunks = http2.takeOutput();
    if (this.trace !== undefined) for (const chunk of chunks) this.trace.send(chunk);
    if (chunks.length === 1) socket.write(chunks[0]!);
    else if (chunks.length > 1) {
      socket.cork();
      for (const chunk of chunks) socket.write(chunk);
      socket.uncork();
    }
    http2.taken(socket.writableLength === 0, socket.writableNeedDrain);
  };

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
      this.http2.lost('the peer did not close the connection');
    });
  }

  idsRunOut(): void {
    // The caller is opening a stream.
    process.nextTick(() => this.owner.idsRunOut());
  }

  ended(end: ConnectionEnd): void {
    const { socket, error, isTimeout } = this;
    this.pingTimer?.clear();
    // Without output, the socket has ended, or the peer is gone.
    if (socket?.writable === true && this.http2.hasOutput) {
      this.flush();
      socket.end();
      this.closeTimer?.clear();
      this.closeTimer = new PeerTimer(this.clock, CLOSE_TIMEOUT_MS, () => socket.destroy());
    } else socket?.destroy();
    this.owner.ended({ ...end, error, isTimeout });
  }
}
