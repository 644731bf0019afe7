import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { systemClock, type Clock, type Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { Http2Connection } from '../http2/connection.js';
import type { ConnectionEnd } from '../http2/events.js';
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
}

/**
 * Milliseconds that the peer has to close a connection that this side has closed, or on which the peer has reported an error by GOAWAY. Calls
 * may still end within this time; afterward, nothing can be expected of the peer.
 */
export const CLOSE_TIMEOUT_MS = 2_000;
/**
 * Milliseconds for which the connection of a client that has violated the protocol, or exceeded a limit, stays open and is not read: the client
 * would open another one at once, which costs more than what was wrong with this one.
 */
const LINGER_MS = 1_000;
const CALM_MS = 5_000;
/**
 * Milliseconds that a client has to close the connection after the last GOAWAY of a drain before this side closes it: nginx loses the end of a
 * response that arrives together with the end of the connection.
 */
const FAREWELL_MS = 500;
/**
 * Bytes per millisecond of a slow line, and bytes that a line and the buffers on its way may hold: a ping waits behind what was sent before
 * it.
 */
const SLOW_LINE = 50;
const MAX_AHEAD_BYTES = 4_194_304;

/**
 * Bytes that were sent to a client since it last sent anything above which it may be held by its own reader, as clients behind nginx and
 * HAProxy are: the ping is behind what they have not read. Nothing but TCP, within a quarter of an hour, tells them from those that are gone.
 */
const HELD_BYTES = 16_384;
export const HELD_MS = 900_000;

/** An HTTP/2 connection of either side and its socket. What is sent within a turn of the event loop leaves in one write. */
export abstract class Http2Socket {
  abstract readonly http2: Http2Connection;
  protected readonly trace: FrameTrace | undefined;
  protected socket: Socket | undefined;
  protected closeTimer: Timer | undefined;
  /** The socket that is closed a while later. */
  private lingering: Socket | undefined;
  private error: NodeJS.ErrnoException | undefined;
  private isSecure = false;
  /** Number of calls that keepalive pings are for, and that keep a client running. */
  protected calls = 0;
  private pingTimer: Timer | undefined;
  /** True if reading has paused since the last ping. */
  protected hasPaused = false;
  /** Time at which something was last received, in monotonic milliseconds. */
  readAt = 0;
  /** Bytes that were sent since the latest answer to a ping. */
  private aheadBytes = 0;
  /** Bytes that were sent since the peer last sent anything. */
  private unansweredBytes = 0;
  /** True if a ping was due while no call was open. */
  private isPingDue = false;

  constructor(
    protected readonly clock: Clock,
    protected readonly keepalive: Keepalive | undefined,
    private readonly isServer: boolean,
  ) {
    this.trace = isTraced() ? new FrameTrace(isServer) : undefined;
  }

  /** Is told of the end of the connection; `undefined` until the connection has a user. */
  protected abstract readonly owner: { ended(end: SocketEnd): void } | undefined;
  /** True if the connection of a peer that is at fault is closed a while later. */
  protected get lingers(): boolean {
    return false;
  }
  /** The socket takes no more output until `drained()`. */
  protected blocked(): void {}

  /** @param isRead true if somebody else passes the socket's bytes to `http2` */
  protected attach(socket: Socket, isRead: boolean): void {
    this.socket = socket;
    if (socket instanceof TLSSocket) {
      this.isSecure = true;
      // RFC 9113, section 9.2.1: it costs the server far more than the client.
      socket.disableRenegotiation();
    }
    if (!isRead) {
      socket.on('data', (bytes) => {
        this.trace?.receive(bytes);
        this.readAt = this.clock.now();
        this.unansweredBytes = 0;
        this.received(bytes);
      });
    }
    socket.on('drain', () => this.drained());
    socket.on('error', (error) => {
      this.error ??= error;
      // Node does not do so itself after a renegotiation.
      socket.destroy();
    });
    socket.on('end', () => this.http2.lost('the peer closed the connection', undefined));
    socket.on('close', () => {
      this.closeTimer?.clear();
      const { error } = this;
      const protection = error?.code === 'ERR_TLS_RENEGOTIATION_DISABLED' ? 'tls-renegotiation' : undefined;
      this.http2.lost(error?.message ?? 'the connection was closed', protection);
    });
  }

  protected received(bytes: Buffer): void {
    this.http2.receive(bytes);
  }

  // ── keepalive ──

  /** The first call has begun. */
  protected pingForCalls(): void {
    if (this.isPingDue) this.ping();
    else this.pingLater();
  }

  protected pingLater(): void {
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
    this.awaitAnswer(keepalive.timeoutMs);
    this.http2.ping(() => {
      this.aheadBytes = 0;
      this.pingTimer?.clear();
      this.pingTimer = undefined;
      this.pingLater();
    });
  }

  /** Any byte is an answer (gRFC A8): on a slow line, the acknowledgement waits behind responses. */
  private awaitAnswer(timeoutMs: number): void {
    this.hasPaused = this.socket?.isPaused() === true;
    const from = this.clock.now();
    const aheadMs = Math.min(this.aheadBytes, MAX_AHEAD_BYTES) / SLOW_LINE;
    this.pingTimer = new PeerTimer(this.clock, timeoutMs + aheadMs, () => {
      // The answer may be behind what was not read.
      if (this.hasPaused || this.readAt > from || this.mayBeHeld) this.awaitAnswer(timeoutMs);
      else this.http2.lost('the peer did not answer a keepalive ping', 'keepalive');
    });
  }

  private get mayBeHeld(): boolean {
    return this.isServer && this.unansweredBytes >= HELD_BYTES && this.clock.now() - this.readAt < HELD_MS;
  }

  // ── output ──

  wake(): void {
    // Not before the event loop has read: if the peer has closed the connection, a failing write would discard the GOAWAY that has arrived.
    systemClock.defer(this.flush);
  }

  protected readonly flush = (): void => {
    const { socket, http2 } = this;
    if (socket?.writable !== true) return;
    const chunks = http2.takeOutput();
    for (const chunk of chunks) {
      this.aheadBytes += chunk.length;
      this.unansweredBytes += chunk.length;
      this.trace?.send(chunk);
    }
    // Over TLS, a write ends later.
    const written = this.isSecure ? this.written : undefined;
    if (chunks.length === 1) socket.write(chunks[0]!, written);
    else if (chunks.length > 1) {
      socket.cork();
      for (const [i, chunk] of chunks.entries()) socket.write(chunk, i === chunks.length - 1 ? written : undefined);
      socket.uncork();
    }
    http2.taken(socket.writableLength === 0, socket.writableNeedDrain);
    if (socket.writableNeedDrain) this.blocked();
  };

  private readonly written = (): void => {
    if (this.socket?.writableLength === 0) this.http2.sent();
  };

  /** The socket takes more output. */
  protected drained(): void {
    this.http2.drained();
    this.flush();
  }

  // ── of the connection ──

  private close(socket: Socket): void {
    socket.end();
    // A socket that is destroyed while there is input to read resets the connection, and the peer might not see the GOAWAY.
    socket.resume();
    this.closeTimer = new PeerTimer(this.clock, CLOSE_TIMEOUT_MS, () => socket.destroy());
  }

  private linger(socket: Socket, ms: number): void {
    this.lingering = socket;
    this.closeTimer = this.clock.setTimer(() => this.stopLingering(), ms);
  }

  /** Closes a connection that lingers. */
  protected stopLingering(): void {
    const { lingering } = this;
    this.lingering = undefined;
    this.closeTimer?.clear();
    if (lingering !== undefined) this.close(lingering);
  }

  ended(end: ConnectionEnd): void {
    const { socket, error } = this;
    this.pingTimer?.clear();
    // Without output, the socket has ended, or the peer is gone.
    if (socket?.writable === true && (this.http2.hasOutput || end.isPlanned === true)) {
      this.flush();
      this.closeTimer?.clear();
      if (end.isPlanned === true) {
        socket.resume();
        this.linger(socket, FAREWELL_MS);
      } else if (end.isPeersFault && this.lingers) {
        socket.pause();
        this.linger(socket, end.code === HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM ? CALM_MS : LINGER_MS);
      } else this.close(socket);
    } else socket?.destroy();
    this.owner?.ended({ ...end, error });
  }
}
