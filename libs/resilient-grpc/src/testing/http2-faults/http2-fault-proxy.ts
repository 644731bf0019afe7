import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { TlsOptions } from 'node:tls';
import { parseUpstream } from '../fault-proxy/upstream-address.js';
import type { UpstreamAddress } from '../fault-proxy/upstream-address.js';
import { TcpListener } from '../tcp-listener.js';
import { CallFaults } from './call-faults.js';
import { checkGoaway, checkOptions, checkPings, checkStreamLimit } from './check-arguments.js';
import { withoutGoaway } from './goaway-frame.js';
import type {
  CallFilter,
  CallFault,
  GoawayOptions,
  Http2FaultProxyCounters,
  Http2FaultProxyOptions,
  UpstreamTls,
} from './http2-faults.js';
import { ProxiedSession } from './proxied-session.js';
import type { ProxyCounts } from './proxied-session.js';
import { SessionWire } from './session-wire.js';

/**
 * A proxy on 127.0.0.1 that terminates HTTP/2 on both sides, so that it can inject faults that otherwise only a server can cause: refused
 * streams, reset streams, missing trailers, and GOAWAY. Each client connection has its own upstream connection; both end together. For
 * faults at the byte level, use `FaultProxy` before or after this proxy. The proxy answers pings itself.
 */
export class Http2FaultProxy {
  private readonly tcp: TcpListener;
  private readonly upstream: UpstreamAddress;
  private readonly upstreamTls: UpstreamTls | undefined;
  private readonly tls: TlsOptions | undefined;
  private readonly faults = new CallFaults();
  private readonly counts: ProxyCounts = { calls: 0, forwarded: 0, failed: 0, pings: 0, lastUpstreamError: undefined };
  private readonly sessions = new Set<ProxiedSession>();
  private streamLimit: number | undefined;
  private pingLimit = Infinity;
  private holdsSettings = false;

  private constructor(upstream: string, options: Http2FaultProxyOptions) {
    checkOptions(options);
    const { port, tls, upstreamTls } = options;
    this.tcp = new TcpListener((socket) => this.accept(socket), { port, allowHalfOpen: true });
    this.upstream = parseUpstream('Http2FaultProxy', upstream);
    this.upstreamTls = upstreamTls;
    this.tls = tls && { ...tls, requestCert: tls.ca !== undefined, ALPNProtocols: ['h2'] };
  }

  /**
   * Starts a proxy that forwards to `upstream`, 'host:port'.
   * @throws TypeError if `upstream` has a different form
   * @throws GrpcConfigurationError if an option is unknown or invalid, including a key or certificate
   * @throws Error if `options.port` is in use
   */
  static async start(upstream: string, options: Http2FaultProxyOptions = {}): Promise<Http2FaultProxy> {
    const proxy = new Http2FaultProxy(upstream, options);
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

  get counters(): Http2FaultProxyCounters {
    return { accepted: this.tcp.accepted, open: this.tcp.sockets.size, ...this.counts };
  }

  /**
   * Injects a fault into the next calls: `failCalls({ kind: 'reset', code: 'REFUSED_STREAM' }, { method: 'Get', times: 3 })`. If several
   * faults match a call, the one added first applies. Returns a function that removes the fault, so that it affects no further calls.
   * Method names are not validated, because the proxy has no service definition; check `counters.failed`.
   * @throws GrpcConfigurationError if a property is unknown or invalid
   */
  failCalls(fault: CallFault, filter: CallFilter = {}): () => void {
    return this.faults.add(fault, filter);
  }

  /**
   * Sends GOAWAY on every open connection whose upstream has sent SETTINGS, and returns the number of all open connections. New connections
   * are served.
   * @throws GrpcConfigurationError if a property is unknown or invalid
   */
  goaway(options: GoawayOptions = {}): number {
    checkGoaway(options);
    const count = this.sessions.size;
    for (const session of this.sessions) session.goaway(options);
    return count;
  }

  /**
   * Sets SETTINGS_MAX_CONCURRENT_STREAMS on open and future connections and refuses streams above the limit. `undefined` restores the value
   * of the upstream.
   * @throws RangeError if `max` is neither `undefined` nor an integer from 0 to 2^32−1
   */
  limitStreams(max: number | undefined): void {
    checkStreamLimit(max);
    this.streamLimit = max;
    for (const session of this.sessions) session.limitStreams(max);
  }

  /**
   * Allows `pings` more pings per connection. On the first ping above this limit, the proxy sends GOAWAY with ENHANCE_YOUR_CALM and
   * "too_many_pings" and closes the connection. On open connections, pings are counted from now; on future connections, from their start.
   * `undefined` removes the limit.
   * @throws RangeError if `pings` is neither `undefined` nor an integer of 0 or more
   */
  tooManyPingsAfter(pings: number | undefined): void {
    checkPings(pings);
    this.pingLimit = pings ?? Infinity;
    for (const session of this.sessions) session.allowPings(this.pingLimit);
  }

  /**
   * Accepts new connections and completes their TLS handshakes, but sends no SETTINGS until `releaseSettings`, so that the connections are
   * unusable.
   */
  holdSettings(): void {
    this.holdsSettings = true;
  }

  /** Ends `holdSettings`, including for connections that are waiting for SETTINGS. */
  releaseSettings(): void {
    this.holdsSettings = false;
    for (const session of this.sessions) session.releaseOutput();
  }

  /** Ends all pending and lasting faults. Calls and connections that have already failed are not restored. */
  heal(): void {
    this.faults.clear();
    this.limitStreams(undefined);
    this.tooManyPingsAfter(undefined);
    this.releaseSettings();
  }

  /** Stops listening, destroys every connection, and resolves when all are closed. */
  async close(): Promise<void> {
    for (const session of this.sessions) session.destroy();
    await this.tcp.close();
  }

  private accept(tcp: Socket): void {
    // Ignores an error during the handshake. No other listener handles it, so it would otherwise crash the process.
    tcp.on('error', () => undefined);
    if (this.tls === undefined) {
      this.proxy(new SessionWire(tcp, tcp, withoutGoaway));
      return;
    }
    // This server never listens. It only performs the TLS handshake for this socket.
    createTlsServer(this.tls, (socket) => {
      this.proxy(new SessionWire(socket, tcp, withoutGoaway));
    }).emit('connection', tcp);
  }

  /**
   * Starts a session for a client connection. The filter of `client`, `withoutGoaway`, removes the GOAWAY frames with NO_ERROR that Node
   * adds. The proxy decides which calls a GOAWAY rejects, and Node's last stream ID would contradict this decision.
   */
  private proxy(client: SessionWire): void {
    if (this.holdsSettings) client.hold();
    const wires = { client, upstream: this.connect() };
    const scheme = this.upstreamTls === undefined ? 'http' : 'https';
    const session = new ProxiedSession(wires, scheme, this.streamLimit, this.faults, this.counts, () => {
      this.sessions.delete(session);
    });
    session.allowPings(this.pingLimit);
    this.sessions.add(session);
  }

  private connect(): SessionWire {
    const tcp = connect({ ...this.upstream, allowHalfOpen: true, noDelay: true });
    if (this.upstreamTls === undefined) return new SessionWire(tcp, tcp);
    const { serverName = this.upstream.host } = this.upstreamTls;
    // Passes an IP address as `host` instead of `servername`, because SNI does not allow IP addresses. Node still verifies the certificate
    // against the address.
    const names = isIP(serverName) ? { host: serverName } : { servername: serverName };
    return new SessionWire(
      connectTls({ ...identityOf(this.upstreamTls), ...names, socket: tcp, ALPNProtocols: ['h2'] }),
      tcp,
    );
  }
}

function identityOf({ ca, key, cert }: UpstreamTls) {
  return { ...(ca && { ca }), ...(key && { key }), ...(cert && { cert }) };
}
