import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import { TcpListener, resetSocket } from '../tcp-listener.js';
import type {
  Direction,
  EndHow,
  FaultProxyCounters,
  FaultProxyOptions,
  IdleCut,
  IdleCutHow,
  ProxyMode,
} from './faults.js';
import { checkByteRule, checkDelay, checkDirection, checkIdleCut } from './check-arguments.js';
import { ProxiedConnection } from './proxied-connection.js';
import { parseUpstream } from './upstream-address.js';
import type { UpstreamAddress } from './upstream-address.js';

interface ByteRule {
  readonly bytes: number;
  readonly direction: Direction;
  readonly how: EndHow;
  /** Connections it will still end. */
  times: number;
}

const BOTH: readonly Direction[] = ['to-upstream', 'to-client'];

/**
 * A TCP proxy on 127.0.0.1 that breaks connections as networks do. `forward`, `refuse` and `staySilent` say what happens to
 * new connections; everything else happens to bytes and connections that are there. Give its `url` to the client.
 */
export class FaultProxy {
  readonly #clock: Clock;
  readonly #connections = new Set<ProxiedConnection>();
  readonly #silent = new Set<Socket>();
  readonly #delays: Record<Direction, number> = { 'to-upstream': 0, 'to-client': 0 };
  readonly #bytes: Record<Direction, number> = { 'to-upstream': 0, 'to-client': 0 };
  #listener: TcpListener | undefined;
  #upstream: UpstreamAddress;
  #mode: ProxyMode = 'forward';
  #idleCut: IdleCut | undefined;
  #byteRule: ByteRule | undefined;
  #open = 0;

  private constructor(upstream: string, clock: Clock) {
    this.#upstream = parseUpstream('FaultProxy', upstream);
    this.#clock = clock;
  }

  /**
   * Starts forwarding to `upstream`, 'host:port'.
   * @throws when `upstream` has no port, or the port of the options is taken
   */
  static async start(upstream: string, options: FaultProxyOptions = {}): Promise<FaultProxy> {
    const proxy = new FaultProxy(upstream, options.clock ?? systemClock);
    const accept = (socket: Socket) => {
      proxy.#accept(socket);
    };
    // Half-open, so that an end from one side is handed on to the other and does no more than that.
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

  get mode(): ProxyMode {
    return this.#mode;
  }

  get counters(): FaultProxyCounters {
    return {
      accepted: this.#tcp.accepted,
      open: this.#open,
      bytesToUpstream: this.#bytes['to-upstream'],
      bytesToClient: this.#bytes['to-client'],
    };
  }

  /** New connections are forwarded; listens again, on the same port, where it had refused. */
  async forward(): Promise<void> {
    await this.#tcp.listen();
    this.#mode = 'forward';
  }

  /** New connections are refused (ECONNREFUSED); those that are open stay. */
  refuse(): void {
    this.#mode = 'refuse';
    this.#tcp.stop();
  }

  /**
   * New connections are accepted and then nothing: no byte in or out, for as long as they live, even when a later `forward`
   * serves new ones.
   */
  async staySilent(): Promise<void> {
    await this.#tcp.listen();
    this.#mode = 'silent';
  }

  /** New connections go to another upstream, 'host:port'. */
  retarget(upstream: string): void {
    this.#upstream = parseUpstream('FaultProxy', upstream);
  }

  /** Tears every open connection (RST to both sides); gives their number. */
  resetAll(): number {
    return this.#endAll('rst');
  }

  /** Closes every open connection in order (FIN to both sides); gives their number. */
  closeAll(): number {
    return this.#endAll('fin');
  }

  /**
   * Black hole: connections that are open stay so, and no byte passes. What is sent meanwhile, ends included, passes after
   * `releaseBytes`. New connections are not touched; `staySilent` is for those.
   * @throws RangeError when an argument cannot be, and says which
   */
  holdBytes(direction: Direction | 'both' = 'both'): void {
    checkDirection('holdBytes', direction);
    for (const connection of this.#connections) for (const way of ways(direction)) connection.hold(way);
  }

  /**
   * Ends `holdBytes`.
   * @throws RangeError when an argument cannot be, and says which
   */
  releaseBytes(direction: Direction | 'both' = 'both'): void {
    checkDirection('releaseBytes', direction);
    for (const connection of this.#connections) for (const way of ways(direction)) connection.release(way);
  }

  /**
   * Cuts each connection over which no byte came for `ms`, present or future. After 'silent' neither side hears of it, nor of
   * anything else on that connection. `undefined` switches it off.
   * @throws RangeError when an argument cannot be, and says which
   */
  cutIdleAfter(ms: number | undefined, how: IdleCutHow = 'fin'): void {
    checkIdleCut(ms, how);
    this.#idleCut = ms === undefined ? undefined : { ms, how };
    for (const connection of this.#connections) connection.cutWhenIdle(this.#idleCut);
  }

  /**
   * Bytes arrive `ms` later, in order, on present and future connections; 0 switches it off.
   * @throws RangeError when an argument cannot be, and says which
   */
  delay(ms: number, direction: Direction | 'both' = 'both'): void {
    checkDelay(ms, direction);
    for (const way of ways(direction)) {
      this.#delays[way] = ms;
      for (const connection of this.#connections) connection.delay(way, ms);
    }
  }

  /**
   * Ends a connection when `bytes` more bytes have passed in `direction` over it, in the middle of a write if need be.
   * Counted from now, and on future connections from their start. After `times` connections (1) it switches itself off;
   * `bytes` Infinity does so at once.
   * @throws RangeError when an argument cannot be, and says which
   */
  closeAfterBytes(bytes: number, direction: Direction, how: EndHow = 'rst', times = 1): void {
    checkByteRule(bytes, direction, how, times);
    this.#byteRule = bytes === Infinity ? undefined : { bytes, direction, how, times };
    for (const connection of this.#connections) this.#allow(connection);
  }

  /**
   * Ends every fault: bytes pass again, new connections are served. Connections that were silenced for good are torn, since
   * nothing else would tell their clients; gives their number.
   */
  async heal(): Promise<number> {
    this.cutIdleAfter(undefined);
    this.delay(0);
    this.closeAfterBytes(Infinity, 'to-client');
    this.releaseBytes();
    await this.forward();
    return this.resetSilenced();
  }

  /**
   * Tears connections that were silenced for good, by `staySilent` or a silent idle cut; gives their number. Others stay.
   */
  resetSilenced(): number {
    const dead = [...this.#connections].filter(({ isDead }) => isDead);
    const count = dead.length + this.#silent.size;
    for (const connection of dead) connection.end('rst');
    for (const socket of this.#silent) resetSocket(socket);
    return count;
  }

  /** Stops listening and destroys every connection; resolves when nothing is left. */
  async close(): Promise<void> {
    // Before anything is waited for: a connection that came meanwhile would be in nobody's hands.
    this.refuse();
    await Promise.all([...this.#connections].map((connection) => connection.destroy()));
    await this.#tcp.close();
  }

  get #tcp(): TcpListener {
    if (this.#listener === undefined) throw new Error('FaultProxy is made by FaultProxy.start()');
    return this.#listener;
  }

  #accept(client: Socket): void {
    this.#open += 1;
    if (this.#mode === 'silent') {
      this.#acceptSilently(client);
      return;
    }
    const upstream = connect({ ...this.#upstream, allowHalfOpen: true, noDelay: true });
    const connection = new ProxiedConnection(client, upstream, this.#clock, {
      onPassed: (direction, count) => {
        this.#bytes[direction] += count;
      },
      onClientGone: () => {
        this.#open -= 1;
      },
      claimCut: () => this.#claimCut(),
      onClosed: () => {
        this.#connections.delete(connection);
      },
    });
    this.#connections.add(connection);
    for (const way of BOTH) connection.delay(way, this.#delays[way]);
    connection.cutWhenIdle(this.#idleCut);
    this.#allow(connection);
  }

  #acceptSilently(client: Socket): void {
    this.#silent.add(client);
    client.once('close', () => {
      this.#silent.delete(client);
      this.#open -= 1;
    });
    client.on('error', () => undefined);
    client.once('end', () => client.destroy());
    // What comes is read and thrown away: an unread end would go unnoticed.
    client.resume();
  }

  #endAll(how: EndHow): number {
    const count = this.#connections.size + this.#silent.size;
    for (const connection of this.#connections) connection.end(how);
    for (const socket of this.#silent) {
      if (how === 'fin') socket.destroySoon();
      else resetSocket(socket);
    }
    return count;
  }

  #allow(connection: ProxiedConnection): void {
    for (const way of BOTH) {
      connection.allow(way, this.#byteRule?.direction === way ? this.#byteRule.bytes : Infinity);
    }
  }

  #claimCut(): EndHow | undefined {
    const rule = this.#byteRule;
    if (rule === undefined) return undefined;
    rule.times -= 1;
    if (rule.times <= 0) this.closeAfterBytes(Infinity, rule.direction);
    return rule.how;
  }
}

function ways(direction: Direction | 'both'): readonly Direction[] {
  return direction === 'both' ? BOTH : [direction];
}
