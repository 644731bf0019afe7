import {
  connect,
  performServerHandshake,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { parseUpstream, requirePem, TcpListener, type ServerTls } from '../tcp-listener.js';
import {
  claimFault,
  type CallFault,
  type CallFilter,
  type CallRule,
  errorNumber,
  type Http2ErrorCode,
  ProxiedCall,
} from './proxied-call.js';
import { Duplex } from 'node:stream';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { nextTurn, systemClock } from '../../time/clock.js';
import { FrameWriter } from '../../transport/http2/frame-writer.js';

interface Http2FaultProxyOptions {
  /** Port to listen on. @defaultValue 0, a free port */
  readonly port?: number | undefined;
  /** Key and certificate for connections from clients. @defaultValue plaintext */
  readonly tls?: ServerTls | undefined;
  /**
   * TLS of the connections to the upstream: its certificate authority, if Node does not know it, and the key and certificate of the proxy,
   * for an upstream that requests a client certificate. @defaultValue plaintext
   */
  readonly upstreamTls?:
    | (Partial<ServerTls> & {
        /** The name in the upstream's certificate. @defaultValue the host of the upstream */
        readonly serverName?: string | undefined;
      })
    | undefined;
}

/**
 * A proxy on 127.0.0.1 that terminates HTTP/2 on both sides, so that it can inject faults that otherwise only a server can cause: refused
 * streams, reset streams, missing trailers, and GOAWAY. Each client connection has its own upstream connection; both end together. For
 * faults at the byte level, use `FaultProxy` before or after this proxy. The proxy answers pings itself.
 */
export class Http2FaultProxy {
  private readonly tcp: TcpListener;
  private readonly tls: TlsOptions | undefined;
  private readonly sessions = new Set<ProxiedSession>();
  private readonly state: ProxyState = {
    rules: new Set(),
    streamLimit: undefined,
    pingLimit: Infinity,
    holdsSettings: false,
    counts: { calls: 0, forwarded: 0, failed: 0, pings: 0, lastUpstreamError: undefined },
  };

  private constructor(
    private readonly upstream: { readonly host: string; readonly port: number },
    private readonly options: Http2FaultProxyOptions,
  ) {
    const { port, tls } = options;
    this.tcp = new TcpListener((socket) => this.accept(socket), { port });
    this.tls = tls && { ...tls, requestCert: tls.ca !== undefined, ALPNProtocols: ['h2'] };
    requirePem(tls);
    requirePem(options.upstreamTls);
  }

  /**
   * Starts a proxy that forwards to `upstream`, 'host:port'.
   * @throws Error if `upstream` has a different form, a key or certificate is invalid, or `options.port` is in use
   */
  static async start(upstream: string, options: Http2FaultProxyOptions = {}): Promise<Http2FaultProxy> {
    const proxy = new Http2FaultProxy(parseUpstream(upstream), options);
    await proxy.tcp.listen();
    return proxy;
  }

  get port(): number {
    return this.tcp.port;
  }

  /** The address of the proxy, '127.0.0.1:port'. */
  get url(): string {
    return this.tcp.url;
  }

  get counters(): {
    readonly accepted: number;
    readonly open: number;
    /** Number of received calls. Excludes calls above the last stream ID of an earlier GOAWAY. */
    readonly calls: number;
    readonly forwarded: number;
    /** Number of calls affected by a fault of `failCalls`. Excludes calls that ended before the point of their fault. */
    readonly failed: number;
    readonly pings: number;
    /** Message of the latest error of an upstream connection, such as a failed TLS handshake; `undefined` before the first error. */
    readonly lastUpstreamError: string | undefined;
  } {
    return { accepted: this.tcp.accepted, open: this.tcp.sockets.size, ...this.state.counts };
  }

  /**
   * Injects a fault into the next calls: `failCalls({ kind: 'reset', code: 'REFUSED_STREAM' }, { method: 'Get', times: 3 })`. If several
   * faults match a call, the one added first applies. Returns a function that removes the fault, so that it affects no further calls.
   * Method names are not validated, because the proxy has no service definition; check `counters.failed`.
   */
  failCalls(fault: CallFault, { method, times = 1 }: CallFilter = {}): () => void {
    const rule = { fault, method, times };
    this.state.rules.add(rule);
    return () => {
      this.state.rules.delete(rule);
    };
  }

  /**
   * Sends GOAWAY on every open connection whose upstream has sent SETTINGS, and returns the number of all open connections. New connections
   * are served.
   */
  goaway(options: GoawayOptions = {}): number {
    const count = this.sessions.size;
    for (const session of this.sessions) session.goaway(options);
    return count;
  }

  /**
   * Sets SETTINGS_MAX_CONCURRENT_STREAMS (an integer from 0 to 2^32−1) on open and future connections and refuses streams above the limit.
   * `undefined` restores the value of the upstream.
   */
  limitStreams(max: number | undefined): void {
    this.state.streamLimit = max;
    for (const session of this.sessions) session.sendSettings();
  }

  /**
   * Allows `pings` more pings (an integer of 0 or more) per connection. On the first ping above this limit, the proxy sends GOAWAY with
   * ENHANCE_YOUR_CALM and "too_many_pings" and closes the connection. On open connections, pings are counted from now; on future
   * connections, from their start. `undefined` removes the limit.
   */
  tooManyPingsAfter(pings: number | undefined): void {
    this.state.pingLimit = pings ?? Infinity;
    for (const session of this.sessions) session.resetPings();
  }

  /**
   * Accepts new connections and completes their TLS handshakes, but sends no SETTINGS until `releaseSettings`, so that the connections are
   * unusable.
   */
  holdSettings(): void {
    this.state.holdsSettings = true;
  }

  /** Ends `holdSettings`, including for connections that are waiting for SETTINGS. */
  releaseSettings(): void {
    this.state.holdsSettings = false;
    for (const session of this.sessions) session.accept();
  }

  /** Ends all pending and lasting faults. Calls and connections that have already failed are not restored. */
  heal(): void {
    this.state.rules.clear();
    this.limitStreams(undefined);
    this.tooManyPingsAfter(undefined);
    this.releaseSettings();
  }

  /** Stops listening, destroys every connection, and resolves when all connections of clients are closed. */
  async close(): Promise<void> {
    await this.tcp.close();
  }

  private accept(tcp: Socket): void {
    // Ignores an error during the handshake. No other listener handles it, so it would otherwise crash the process.
    tcp.on('error', () => undefined);
    if (this.tls === undefined) this.proxy(tcp);
    // This server never listens. It only performs the TLS handshake for this socket.
    else createTlsServer(this.tls, (socket) => this.proxy(socket)).emit('connection', tcp);
  }

  private proxy(socket: Socket): void {
    const { host, port } = this.upstream;
    const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    const { upstreamTls } = this.options;
    const { serverName, ...identity } = upstreamTls ?? {};
    const upstream = connect(`${upstreamTls === undefined ? 'http' : 'https'}://${authority}`, {
      ...identity,
      ...(serverName !== undefined && { servername: serverName }),
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { enablePush: false },
    });
    const session = new ProxiedSession(socket, upstream, this.state);
    this.sessions.add(session);
    socket.once('close', () => this.sessions.delete(session));
  }
}

/** The last stream ID of a GOAWAY that does not reject any stream yet. */
const NO_LAST_STREAM_ID = 2 ** 31 - 1;

const NO_SETTINGS = 'the upstream closed the connection before it sent SETTINGS; if it requires TLS, set upstreamTls';

export interface GoawayOptions {
  /** The error code. After any code other than NO_ERROR, the connection is closed. @defaultValue 'NO_ERROR' */
  readonly code?: Http2ErrorCode | undefined;
  /**
   * The last stream ID. 'newest': the ID of the newest call; calls in flight finish if the code is NO_ERROR. 'none': 2^31−1, as in the
   * first GOAWAY of a graceful shutdown, after which new calls are still served. An integer from 0 to 2^31−1: calls above it are reported
   * as unprocessed and dropped. The ID never exceeds that of an earlier GOAWAY on the same connection.
   * @defaultValue 'newest'
   */
  readonly lastStreamId?: number | 'newest' | 'none' | undefined;
  /** Debug data of the frame, at most 16,376 bytes. @defaultValue none */
  readonly debugData?: string | undefined;
}

export interface ProxyState {
  readonly rules: Set<CallRule>;
  streamLimit: number | undefined;
  pingLimit: number;
  holdsSettings: boolean;
  readonly counts: {
    calls: number;
    forwarded: number;
    failed: number;
    pings: number;
    lastUpstreamError: string | undefined;
  };
}

/** A client connection and the corresponding upstream connection, each with its own HTTP/2 session. Both end together. */
export class ProxiedSession {
  private readonly calls = new Set<ProxiedCall>();
  /** Created when the upstream's SETTINGS arrive. If the upstream is unreachable, the client's connection ends without a session. */
  private client: ServerHttp2Session | undefined;
  private isUpstreamReady = false;
  private pingsLeft: number;
  /** Stream ID of the newest call without a 'goaway' fault; 0 before the first call. */
  private newestId = 0;
  /** The last stream ID of the latest GOAWAY; `Infinity` before the first one. New calls with a higher ID are ignored. */
  private lastStreamId = Infinity;
  private readonly wire: SessionWire;

  constructor(
    private readonly socket: Socket,
    private readonly upstream: ClientHttp2Session,
    private readonly proxy: ProxyState,
  ) {
    this.pingsLeft = proxy.pingLimit;
    this.wire = new SessionWire(socket);
    socket.once('close', () => upstream.destroy());
    let error: Error | undefined;
    upstream.on('error', (cause: Error) => {
      error ??= cause;
    });
    upstream.once('remoteSettings', () => {
      this.isUpstreamReady = true;
      this.accept();
    });
    upstream.on('goaway', (code: number, _lastStreamId: number, debugData?: Buffer) => {
      this.goaway({ code, debugData: debugData?.toString() });
    });
    upstream.once('close', () => {
      const reason = error?.message ?? (this.isUpstreamReady ? undefined : NO_SETTINGS);
      if (reason !== undefined && !socket.destroyed) proxy.counts.lastUpstreamError = reason;
      void this.endAfterResponses();
    });
  }

  /** Starts to serve the client, unless its SETTINGS are held or the upstream has not sent its own yet. */
  accept(): void {
    if (this.client !== undefined || !this.isUpstreamReady || this.proxy.holdsSettings) return;
    const client = performServerHandshake(this.wire, {
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: this.settings(),
    });
    // Node answers a GOAWAY of the client with its own, whose last stream ID would contradict an earlier GOAWAY of the proxy.
    client.goaway = () => undefined;
    client.on('error', () => undefined);
    client.on('stream', (stream, headers) => this.acceptCall(stream, headers));
    client.on('ping', () => {
      this.proxy.counts.pings += 1;
      this.pingsLeft -= 1;
      if (this.pingsLeft < 0) this.goaway({ code: 'ENHANCE_YOUR_CALM', debugData: 'too_many_pings' });
    });
    this.client = client;
  }

  goaway({ code = 'NO_ERROR', lastStreamId = 'newest', debugData = '' }: GoawayOptions): void {
    // Before SETTINGS, the client has no session that a GOAWAY could end.
    if (this.client === undefined || this.socket.destroyed) return;
    const named = { newest: this.newestId, none: NO_LAST_STREAM_ID };
    const wanted = typeof lastStreamId === 'number' ? lastStreamId : named[lastStreamId];
    // HTTP/2 forbids increasing the last stream ID from one GOAWAY to the next.
    this.lastStreamId = Math.min(this.lastStreamId, wanted);
    // Not `client.goaway()`, which cannot send the last stream ID 0, and after which Node ignores new calls.
    const writer = new FrameWriter();
    writer.goaway(this.lastStreamId, errorNumber(code), debugData);
    for (const frame of writer.take()) this.socket.write(frame);
    for (const call of this.calls) if ((call.client.id ?? 0) > this.lastStreamId) call.rejectUnprocessed();
    if (errorNumber(code) !== HTTP2_ERROR_CODES.NO_ERROR) this.socket.destroySoon();
  }

  sendSettings(): void {
    if (this.client?.destroyed === false) this.client.settings(this.settings());
  }

  resetPings(): void {
    this.pingsLeft = this.proxy.pingLimit;
  }

  private acceptCall(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const { id = 0 } = stream;
    const { counts, rules } = this.proxy;
    stream.on('error', () => undefined);
    // The GOAWAY has declared streams above its last stream ID unprocessed, so the client expects no response.
    if (id > this.lastStreamId) return;
    counts.calls += 1;
    const fault = claimFault(rules, headers[':path'] ?? '');
    const onFailed = () => {
      counts.failed += 1;
    };
    if (fault?.kind === 'goaway') {
      onFailed();
      this.goaway({ ...fault, lastStreamId: this.newestId });
      return;
    }
    this.newestId = id;
    const call = new ProxiedCall(stream, headers, this.upstream, fault, onFailed);
    if (call.forwarded !== undefined) counts.forwarded += 1;
    this.calls.add(call);
    stream.once('close', () => this.calls.delete(call));
  }

  private settings(): { readonly maxConcurrentStreams: number } {
    const { maxConcurrentStreams = 2 ** 32 - 1 } = this.upstream.remoteSettings;
    return { maxConcurrentStreams: this.proxy.streamLimit ?? maxConcurrentStreams };
  }

  /** Ends the client's connection after the complete responses, because the upstream's connection has ended. */
  private async endAfterResponses(): Promise<void> {
    const complete = [...this.calls].filter(({ forwarded }) => forwarded?.readableEnded);
    await Promise.all(complete.map(({ response }) => response));
    // Node writes the trailers in a later turn of the event loop.
    for (let turns = 0; turns < 3; turns += 1) await nextTurn(systemClock);
    this.socket.destroySoon();
  }
}

/** The socket of an HTTP/2 session. node:http2 writes whole frames to it, so other frames can be written to the socket in between. */
class SessionWire extends Duplex {
  constructor(private readonly socket: Socket) {
    super();
    socket.on('data', (bytes: Buffer) => {
      if (!this.push(bytes)) socket.pause();
    });
    socket.once('end', () => this.push(null));
    socket.once('close', () => this.destroy());
    for (const one of [socket, this]) one.on('error', () => undefined);
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroySoon();
    done(error);
  }
}
