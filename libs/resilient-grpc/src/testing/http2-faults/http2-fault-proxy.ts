import { connect } from 'node:http2';
import type { Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { parseUpstream, requirePem, TcpListener, type ServerTls } from '../tcp-listener.js';
import { CallFaults, type CallFault, type CallFilter } from './call-faults.js';
import { ProxiedSession, type GoawayOptions, type ProxyState } from './proxied-session.js';

/** Options of an HTTP/2 fault proxy. */
interface Http2FaultProxyOptions {
  /** Port to listen on. @defaultValue 0, a free port */
  readonly port?: number | undefined;
  /** Key and certificate for connections from clients. @defaultValue plaintext */
  readonly tls?: ServerTls | undefined;
  /** TLS options of the connections to the upstream. @defaultValue plaintext */
  readonly upstreamTls?:
    | {
        /** Certificate authority in PEM. @defaultValue the certificate authorities of Node */
        readonly ca?: string | Buffer | undefined;
        /** Key of the proxy in PEM, used with `cert`, for upstreams that request a client certificate. */
        readonly key?: string | Buffer | undefined;
        readonly cert?: string | Buffer | undefined;
        /** The name in the upstream's certificate. @defaultValue the host of the upstream */
        readonly serverName?: string | undefined;
      }
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
    faults: new CallFaults(),
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

  /** Counters since the start. */
  get counters(): {
    /** Number of accepted connections. */
    readonly accepted: number;
    /** Number of open connections. */
    readonly open: number;
    /** Number of received calls. Excludes calls above the last stream ID of an earlier GOAWAY. */
    readonly calls: number;
    /** Number of calls forwarded to the upstream. */
    readonly forwarded: number;
    /** Number of calls affected by a fault of `failCalls`. Excludes calls that ended before the point of their fault. */
    readonly failed: number;
    /** Number of pings received from clients. */
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
  failCalls(fault: CallFault, filter: CallFilter = {}): () => void {
    return this.state.faults.add(fault, filter);
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
    this.state.faults.clear();
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
