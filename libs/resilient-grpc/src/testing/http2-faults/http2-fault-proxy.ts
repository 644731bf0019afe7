import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { TlsOptions } from 'node:tls';
import { parseUpstream } from '../fault-proxy/upstream-address.js';
import type { UpstreamAddress } from '../fault-proxy/upstream-address.js';
import { TcpListener } from '../tcp-listener.js';
import { CallFaults } from './call-faults.js';
import { checkGoaway, checkPings, checkStreamLimit, checkTls } from './check-arguments.js';
import { withoutGoaway } from './goaway-frame.js';
import type {
  CallChoice,
  CallFault,
  GoawayOptions,
  Http2FaultProxyCounters,
  Http2FaultProxyOptions,
  UpstreamTls,
} from './http2-faults.js';
import { ProxiedSession } from './proxied-session.js';
import { SessionWire } from './session-wire.js';

/**
 * A proxy on 127.0.0.1 that speaks HTTP/2 with both sides, and so can do wrong what only a server can: refuse and reset
 * streams, leave out trailers, send GOAWAY. Each connection of a client has its own to the upstream, and ends with it. What
 * happens to bytes is `FaultProxy`'s: either may stand before the other. Pings are answered here, not by the upstream.
 */
export class Http2FaultProxy {
  readonly #upstream: UpstreamAddress;
  readonly #upstreamTls: UpstreamTls | undefined;
  readonly #tls: TlsOptions | undefined;
  readonly #faults = new CallFaults();
  readonly #sessions = new Set<ProxiedSession>();
  #listener: TcpListener | undefined;
  #streamLimit: number | undefined;
  #pingLimit = Infinity;
  #holdsSettings = false;
  #calls = 0;
  #forwarded = 0;
  #failed = 0;
  #pings = 0;

  private constructor(upstream: string, { tls, upstreamTls }: Http2FaultProxyOptions) {
    this.#upstream = parseUpstream('Http2FaultProxy', upstream);
    this.#upstreamTls = upstreamTls;
    if (upstreamTls !== undefined) checkTls('upstreamTls', identityOf(upstreamTls));
    if (tls === undefined) return;
    this.#tls = { ...tls, requestCert: tls.ca !== undefined, ALPNProtocols: ['h2'] };
    checkTls('tls', this.#tls);
  }

  /**
   * Starts forwarding to `upstream`, 'host:port'.
   * @throws TypeError when `upstream` is not that, or a key or certificate is none
   * @throws what the listener does, when the port of the options is taken
   */
  static async start(upstream: string, options: Http2FaultProxyOptions = {}): Promise<Http2FaultProxy> {
    const proxy = new Http2FaultProxy(upstream, options);
    const accept = (socket: Socket) => {
      proxy.#accept(socket);
    };
    proxy.#listener = await TcpListener.open(accept, { port: options.port, allowHalfOpen: true });
    return proxy;
  }

  get port(): number {
    return this.#tcp.port;
  }

  /** '127.0.0.1:port' */
  get url(): string {
    return this.#tcp.url;
  }

  get counters(): Http2FaultProxyCounters {
    return {
      accepted: this.#tcp.accepted,
      open: this.#tcp.sockets.size,
      calls: this.#calls,
      forwarded: this.#forwarded,
      failed: this.#failed,
      pings: this.#pings,
    };
  }

  /**
   * Lets the next calls go wrong: `failCalls({ kind: 'reset', code: 'REFUSED_STREAM' }, { method: 'Get', times: 3 })`. Of
   * several that a call matches, the one that was asked for first takes it. Gives what takes it back, as far as it still waits.
   * What the methods of the server are is not known here: `counters.failed` tells whether it hit.
   * @throws RangeError when an argument cannot be, and says which
   */
  failCalls(fault: CallFault, choice: CallChoice = {}): () => void {
    return this.#faults.add(fault, choice);
  }

  /**
   * Sends GOAWAY on every open connection; gives their number. New connections are served.
   * @throws RangeError when an argument cannot be, and says which
   */
  goaway(options: GoawayOptions = {}): number {
    checkGoaway(options);
    const count = this.#sessions.size;
    for (const session of this.#sessions) session.goaway(options);
    return count;
  }

  /**
   * Announces SETTINGS_MAX_CONCURRENT_STREAMS on open and future connections, and refuses streams beyond it; undefined: what
   * the upstream says.
   * @throws RangeError when it is no number of streams
   */
  limitStreams(max: number | undefined): void {
    checkStreamLimit(max);
    this.#streamLimit = max;
    for (const session of this.#sessions) session.limitStreams(max);
  }

  /**
   * The ping after `pings` more on a connection is answered by GOAWAY ENHANCE_YOUR_CALM "too_many_pings", and the connection
   * closed. Counted from now, and on future connections from their start. `undefined` switches it off.
   * @throws RangeError when it is no number of pings
   */
  tooManyPingsAfter(pings: number | undefined): void {
    checkPings(pings);
    this.#pingLimit = pings ?? Infinity;
    for (const session of this.#sessions) session.allowPings(this.#pingLimit);
  }

  /** New connections are accepted, TLS included, and the SETTINGS that make them usable do not come until `releaseSettings`. */
  holdSettings(): void {
    this.#holdsSettings = true;
  }

  /** Ends `holdSettings`, also for connections that wait. */
  releaseSettings(): void {
    this.#holdsSettings = false;
    for (const session of this.#sessions) session.releaseOutput();
  }

  /** Forgets every fault that waits or lasts; calls and connections that were hit stay so. */
  heal(): void {
    this.#faults.clear();
    this.limitStreams(undefined);
    this.tooManyPingsAfter(undefined);
    this.releaseSettings();
  }

  /** Stops listening and destroys every connection; resolves when nothing is left. */
  async close(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    await this.#tcp.close();
  }

  get #tcp(): TcpListener {
    if (this.#listener === undefined) throw new Error('Http2FaultProxy is made by Http2FaultProxy.start()');
    return this.#listener;
  }

  #accept(tcp: Socket): void {
    // A connection lost during its handshake has nobody else to hear of it.
    tcp.on('error', () => undefined);
    if (this.#tls === undefined) {
      this.#proxy(new SessionWire(tcp, tcp, withoutGoaway));
      return;
    }
    // It never listens: it makes TLS of this one socket.
    createTlsServer(this.#tls, (socket) => {
      this.#proxy(new SessionWire(socket, tcp, withoutGoaway));
    }).emit('connection', tcp);
  }

  /** Of GOAWAY the session of `client` is silent: which calls it disowns is decided here, and its own would say otherwise. */
  #proxy(client: SessionWire): void {
    if (this.#holdsSettings) client.hold();
    const wires = { client, upstream: this.#connect() };
    const scheme = this.#upstreamTls === undefined ? 'http' : 'https';
    const session = new ProxiedSession(wires, scheme, this.#streamLimit, {
      claim: (path) => {
        this.#calls += 1;
        return this.#faults.claim(path);
      },
      onForwarded: () => {
        this.#forwarded += 1;
      },
      onFailed: () => {
        this.#failed += 1;
      },
      onPing: () => {
        this.#pings += 1;
      },
      onClosed: () => {
        this.#sessions.delete(session);
      },
    });
    session.allowPings(this.#pingLimit);
    this.#sessions.add(session);
  }

  #connect(): SessionWire {
    const tcp = connect({ ...this.#upstream, allowHalfOpen: true, noDelay: true });
    if (this.#upstreamTls === undefined) return new SessionWire(tcp, tcp);
    const { serverName = this.#upstream.host } = this.#upstreamTls;
    // SNI knows no addresses; the certificate is checked for one all the same.
    const names = isIP(serverName) ? { host: serverName } : { servername: serverName };
    return new SessionWire(
      connectTls({ ...identityOf(this.#upstreamTls), ...names, socket: tcp, ALPNProtocols: ['h2'] }),
      tcp,
    );
  }
}

function identityOf({ ca, key, cert }: UpstreamTls) {
  return { ...(ca && { ca }), ...(key && { key }), ...(cert && { cert }) };
}
