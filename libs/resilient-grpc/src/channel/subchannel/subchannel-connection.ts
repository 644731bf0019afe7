import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ChannelOptions, experimental } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import type { ConnectionEnd } from '../../call/call-event.js';
import type { ProtectionId } from '../../call/protection.js';
import { silenceMs } from '../../policy/deadline/silent-peer.js';
import { DROPPED } from '../../policy/evidence/grpc-js-texts.js';
import type { Clock } from '../../time/clock.js';
import { MAX_MEASURED_WINDOW } from '../../transport/http2/bdp-estimator.js';
import type { StreamReceiver, Goaway } from '../../transport/http2/events.js';
import type { WriteBlock } from '../../transport/http2/frame-writer.js';
import type { Http2Stream, StreamKind } from '../../transport/http2/http2-stream.js';
import { encodedBound, encodeFields, listSize } from '../../transport/hpack/hpack-encoder.js';
import { SocketConnection, type SocketEnd, type SocketOwner } from '../../transport/socket/socket-connection.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { grpcJsVersion } from '../quirks/grpc-js-version.js';

const DEFAULT_MAX_MESSAGE_BYTES = 4_194_304;
const DEFAULT_KEEPALIVE_TIMEOUT_MS = 20_000;
/** Receive windows of a stream, which grows, and of the connection, in bytes. The windows of the streams bound the memory. */
const STREAM_WINDOW = 262_144;
const CONNECTION_WINDOW = 2 * MAX_MEASURED_WINDOW;
/** Largest header list of a response. Servers of grpc-js send up to 80 KB. */
const MAX_RESPONSE_HEADERS_BYTES = 262_144;
/** Largest header list of a request that every server takes that announces no limit. */
const MAX_REQUEST_HEADERS_BYTES = 65_535;
/** Number of request heads that are kept. */
const MAX_HEADS = 256;
const UNLIMITED_STREAMS = 2 ** 31 - 1;

const END_BY_CODE: Readonly<Record<string, ConnectionEnd>> = {
  ECONNRESET: 'connection reset',
  // A write on a connection that the peer has closed.
  EPIPE: 'connection reset',
  ETIMEDOUT: 'connection timed out',
  ECONNABORTED: 'connection aborted',
};
/** Time in milliseconds without window after which a connection is replaced. */
const STALLED_MS = 5_000;
const { NO_ERROR } = HTTP2_ERROR_CODES;
const HTTP2_CODES = Object.keys(HTTP2_ERROR_CODES);

type Secured = Awaited<ReturnType<experimental.SecureConnector['connect']>>;

/** What the subchannel of a connection is told. */
export interface ConnectionUser {
  connected(connection: SubchannelConnection): void;
  /** The connection takes no more calls. */
  closing(connection: SubchannelConnection, isTooManyPings: boolean): void;
  /** The peer gives the connection no window. */
  stalled(connection: SubchannelConnection): void;
  /** Largest header list of a request to a server that announces no limit, in bytes. */
  readonly maxRequestHeaders: number;
  /** The server has closed a connection over larger headers. */
  limitRequestHeaders(bytes: number): void;
  /** The connection could not be established. */
  failed(connection: SubchannelConnection, error: unknown): void;
}

interface RequestHead extends StreamKind {
  readonly authority: string;
  readonly bytes: Buffer;
  readonly listSize: number;
}

/** One connection of a subchannel: its socket, the evidence about it, and its streams. */
export class SubchannelConnection implements SocketOwner {
  readonly socket: SocketConnection;
  readonly maxMessageBytes: number;
  authContext: Attempt['authContext'];
  /** Code of the latest GOAWAY of the peer. */
  goawayCode: number | undefined = undefined;
  /** Called when a GOAWAY arrives, and when the connection closes. */
  readonly endListeners = new Set<() => void>();
  /** True if the connection ended because the peer no longer responded. */
  hasTimedOut = false;
  /** True if the connection ended because the peer violated the protocol. */
  isPeersFault = false;
  end: ConnectionEnd = 'unknown';
  /** True if the peer has reset a stream that was opened after it had reset another one. */
  resetsStreams = false;
  /** Id of the next stream when the peer reset the first one. */
  private resetBefore = Infinity;
  /** What this side has ended the connection for; `undefined` if it has not. */
  protection: ProtectionId | undefined = undefined;
  /** Called after each change of `limit`. */
  changed: () => void = () => undefined;
  /** A stream with larger headers than some servers take: one that was answered, or else the latest. */
  private large: Http2Stream | undefined = undefined;
  /** Time at which the connection became READY, in monotonic milliseconds. */
  readyAt = Infinity;
  /** The TCP socket; with TLS, the underlying one. */
  private tcp: Socket | undefined;
  private scheme = 'http';
  private readonly heads = new Map<string, RequestHead>();
  private readonly userAgent: string;

  constructor(
    /** Address of the connection in the history of its channel, such as '10.0.0.7:50051#2'. */
    readonly address: string,
    readonly peer: string,
    options: ChannelOptions,
    keepaliveMs: number,
    private readonly user: ConnectionUser,
    private readonly clock: Clock,
  ) {
    const window = options['grpc-node.flow_control_window'] ?? STREAM_WINDOW;
    const maxBytes = options['grpc.max_receive_message_length'] ?? DEFAULT_MAX_MESSAGE_BYTES;
    this.maxMessageBytes = maxBytes === -1 ? Infinity : maxBytes;
    this.userAgent = [
      options['grpc.primary_user_agent'],
      `grpc-node-js/${grpcJsVersion()}`,
      options['grpc.secondary_user_agent'],
    ]
      .filter((part) => part !== undefined && part !== '')
      .join(' ');
    this.socket = new SocketConnection(
      {
        streamWindow: window,
        connectionWindow: Math.max(window, CONNECTION_WINDOW),
        maxHeaderListSize: MAX_RESPONSE_HEADERS_BYTES,
        headerTableSize: 0,
      },
      this,
      clock,
      keepaliveMs > 0
        ? {
            intervalMs: keepaliveMs,
            timeoutMs: options['grpc.keepalive_timeout_ms'] ?? DEFAULT_KEEPALIVE_TIMEOUT_MS,
            isAlwaysOn: options['grpc.keepalive_permit_without_calls'] === 1,
          }
        : undefined,
    );
  }

  /**
   * @param tcp the TCP socket
   * @param secured `tcp`, or the TLS socket on it
   * @param isRead true if the socket was opened with the `onread` of this connection
   */
  start(tcp: Socket, { socket, secure }: Secured, isRead: boolean): void {
    this.tcp = tcp;
    this.scheme = secure ? 'https' : 'http';
    this.authContext =
      socket instanceof TLSSocket && socket.authorized
        ? { transportSecurityType: 'ssl', sslPeerCertificate: socket.getPeerCertificate() }
        : {};
    this.socket.start(socket, isRead);
  }

  // ── bytes ──

  /** Total number of bytes received from the peer. */
  get bytesRead(): number {
    return this.tcp?.bytesRead ?? 0;
  }

  /**
   * Milliseconds without received data during an attempt that began at `startedAt`, counted from `countFrom` if the silence began earlier;
   * `undefined` if unknown, if below 250 ms, or if the silence began more than 500 ms after `startedAt`.
   */
  silenceMs(startedAt: number, now: number, countFrom = startedAt): number | undefined {
    if (startedAt < this.readyAt) return undefined;
    return silenceMs(this.socket.readAt, startedAt, now, countFrom);
  }

  // ── end ──

  /** True if Node has read the data of the socket to its end, or has destroyed the socket. The channel might not have been notified yet. */
  get isEnding(): boolean {
    return this.tcp?.readableEnded === true || this.tcp?.destroyed === true;
  }

  /** Calls `listener` when the socket closes. */
  whenClosed(listener: () => void): void {
    this.tcp?.once('close', listener);
  }

  /** Closes the connection immediately, because the peer did not respond to a liveness probe. Its calls fail like calls on a lost one. */
  destroy(): void {
    this.protection = 'suspicion';
    this.recordTimeout();
    // A reset, because a peer that does not respond would not acknowledge the end, either. Unix sockets, which have no port, have no resets.
    if (this.tcp?.remotePort === undefined) this.tcp?.destroy();
    else this.tcp.resetAndDestroy();
  }

  /** The peer has reset the stream `id`. */
  streamReset(id: number): void {
    if (id >= this.resetBefore) this.resetsStreams = true;
    else this.resetBefore = Math.min(this.resetBefore, this.socket.http2.nextId);
  }

  // ── streams ──

  get isUsable(): boolean {
    return this.socket.http2.isUsable;
  }

  /** Maximum number of concurrent streams; Infinity if the server sets no limit. */
  get limit(): number {
    const { maxConcurrentStreams } = this.socket.http2;
    return maxConcurrentStreams < UNLIMITED_STREAMS ? maxConcurrentStreams : Infinity;
  }

  /** Number of streams in use. */
  get used(): number {
    return this.socket.http2.openStreams;
  }

  /** Number of streams that can start now; also 0 if the server lowered its limit below the number of streams in use. */
  get free(): number {
    return Math.max(0, this.limit - this.used);
  }

  /** Opens a stream. `isUsable` must be true. */
  open(receiver: StreamReceiver, path: string, authority: string, fields: readonly string[]): Http2Stream {
    const head = this.headOf(path, authority);
    const { bytes } = head;
    const bound = bytes.length + encodedBound(fields);
    const write: WriteBlock = (target, at) => {
      target.set(bytes, at);
      return encodeFields(target, at + bytes.length, fields);
    };
    const stream = this.socket.http2.open(receiver, bound, write, head);
    if (bound > MAX_REQUEST_HEADERS_BYTES && this.large?.isAnswered !== true) this.large = stream;
    return stream;
  }

  /**
   * Returns why the headers of a request are not sent; `undefined` if they are small enough, or if the server announces no limit and has
   * survived larger ones. Node's servers announce none, and close the connection, with the calls of others.
   */
  excess(path: string, authority: string, fields: readonly string[]): string | undefined {
    const { maxHeaderListSize: announced } = this.socket.http2;
    const limit = announced === Infinity ? this.user.maxRequestHeaders : announced;
    if (limit === Infinity) return undefined;
    const size = this.headOf(path, authority).listSize + listSize(fields);
    if (size <= limit) return undefined;
    let largest = 0;
    for (let i = 0; i + 1 < fields.length; i += 2) if (lengthAt(fields, i) > lengthAt(fields, largest)) largest = i;
    const key = `${fields[largest] ?? 'none'}: ${String(lengthAt(fields, largest))} bytes`;
    const whose = announced === Infinity ? 'limit at which the server closed a connection' : "server's limit";
    return `Request headers larger than the ${whose} (${String(size)} vs ${String(limit)} bytes; largest key ${key})`;
  }

  private headOf(path: string, authority: string): RequestHead {
    const known = this.heads.get(path);
    if (known?.authority === authority) return known;
    const fields = [':method', 'POST', ':scheme', this.scheme, ':path', path, ':authority', authority];
    fields.push('te', 'trailers', 'content-type', 'application/grpc', 'user-agent', this.userAgent);
    const target = Buffer.allocUnsafe(encodedBound(fields));
    const bytes = Buffer.from(target.subarray(0, encodeFields(target, 0, fields)));
    const head = { authority, bytes, listSize: listSize(fields), window: 0 };
    // A client has as many methods as its services; other paths are rare.
    if (this.heads.size >= MAX_HEADS) this.heads.clear();
    this.heads.set(path, head);
    return head;
  }

  /**
   * Lets further calls use another connection if the peer has given this one no window for a while, although it sends something: it does not
   * read what other calls send, or it loses count of the window. Called when a call gives up for want of window.
   */
  retireIfStalled(): void {
    const { exhaustedAt } = this.socket.http2;
    if (this.clock.now() - exhaustedAt >= STALLED_MS && this.socket.readAt > exhaustedAt) this.user.stalled(this);
  }

  /** Text of the status of calls that the loss of the connection ends. */
  lossText(details: string): string {
    if (DROPPED.test(details)) return details;
    return this.isPeersFault ? `Connection dropped after a protocol error: ${details}` : 'Connection dropped';
  }

  private recordTimeout(): void {
    this.hasTimedOut = true;
    this.end = 'connection timed out';
  }

  // ── of the socket ──

  ready(): void {
    this.readyAt = this.clock.now();
    this.user.connected(this);
  }

  settingsChanged(): void {
    this.changed();
  }

  goawayReceived({ code, debug }: Goaway): void {
    if (this.end === 'unknown') this.end = `GOAWAY ${HTTP2_CODES[code] ?? String(code)}`;
    this.goawayCode = code;
    this.notify();
    this.user.closing(this, debug === 'too_many_pings');
  }

  idsRunOut(): void {
    this.user.closing(this, false);
  }

  ended(end: SocketEnd): void {
    const { error, details, isPeersFault, protection } = end;
    this.isPeersFault = isPeersFault;
    this.protection ??= protection;
    if (protection === 'keepalive') this.recordTimeout();
    else if (this.end === 'unknown' && error !== undefined) this.end = END_BY_CODE[error.code ?? ''] ?? 'socket error';
    else if (this.end === 'unknown' && isPeersFault) this.end = 'socket error';
    if (this.readyAt < Infinity) {
      // Without an error of the server, it may only have been restarted.
      const isRejected = this.large?.isAnswered === false && (this.goawayCode ?? NO_ERROR) !== NO_ERROR;
      if (isRejected) this.user.limitRequestHeaders(MAX_REQUEST_HEADERS_BYTES);
      this.notify();
      this.user.closing(this, false);
      return;
    }
    this.user.failed(
      this,
      isPeersFault ? new Error(`Protocol error: ${details}`) : (error ?? new Error('Failed to connect')),
    );
  }

  private notify(): void {
    for (const listener of this.endListeners) listener();
  }
}

function lengthAt(fields: readonly string[], at: number): number {
  return fields[at + 1]?.length ?? 0;
}
