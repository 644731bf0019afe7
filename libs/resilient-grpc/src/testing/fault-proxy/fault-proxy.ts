import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import { TcpListener, resetSocket } from '../tcp-listener.js';
import type {
  Direction,
  CloseMode,
  FaultProxyCounters,
  FaultProxyOptions,
  IdleCut,
  IdleCloseMode,
  ProxyMode,
} from './faults.js';
import { checkByteRule, checkDelay, checkDirection, checkIdleCut, checkOptions } from './check-arguments.js';
import { ProxiedConnection } from './proxied-connection.js';
import { parseUpstream } from './upstream-address.js';
import type { UpstreamAddress } from './upstream-address.js';

interface ByteRule {
  readonly bytes: number;
  readonly direction: Direction;
  readonly how: CloseMode;
  /** Number of further connections that the rule ends. */
  times: number;
}

const WAYS: readonly Direction[] = ['to-upstream', 'to-client'];

/**
 * A TCP proxy on 127.0.0.1 that injects network faults. `forward`, `refuse`, `staySilent`, and `retarget` determine how new connections are
 * served; the other methods affect the bytes of connections, or end connections. Use its `url` as the client's target.
 */
export class FaultProxy {
  private readonly tcp: TcpListener;
  private readonly clock: Clock;
  private readonly connections = new Set<ProxiedConnection>();
  private readonly silent = new Set<Socket>();
  private readonly delays: Record<Direction, number> = { 'to-upstream': 0, 'to-client': 0 };
  private readonly bytes: Record<Direction, number> = { 'to-upstream': 0, 'to-client': 0 };
  private upstream: UpstreamAddress;
  private currentMode: ProxyMode = 'forward';
  private idleCut: IdleCut | undefined;
  private byteRule: ByteRule | undefined;
  private isClosed = false;

  private constructor(upstream: string, options: FaultProxyOptions) {
    checkOptions(options);
    const { port, clock = systemClock } = options;
    this.upstream = parseUpstream('FaultProxy', upstream);
    this.clock = clock;
    // Half-open, so that a FIN from one side is forwarded to the other and has no further effect.
    this.tcp = new TcpListener((socket) => this.accept(socket), { port, allowHalfOpen: true });
  }

  /**
   * Starts a proxy that forwards to `upstream`, 'host:port'.
   * @throws TypeError if `upstream` has a different form
   * @throws GrpcConfigurationError if an option is unknown or invalid
   * @throws Error if `options.port` is in use
   */
  static async start(upstream: string, options: FaultProxyOptions = {}): Promise<FaultProxy> {
    const proxy = new FaultProxy(upstream, options);
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

  get mode(): ProxyMode {
    return this.currentMode;
  }

  get counters(): FaultProxyCounters {
    return {
      accepted: this.tcp.accepted,
      open: [...this.connections].filter(({ hasClient }) => hasClient).length + this.silent.size,
      bytesToUpstream: this.bytes['to-upstream'],
      bytesToClient: this.bytes['to-client'],
    };
  }

  /**
   * Forwards new connections. Listens on the same port again if the proxy has stopped listening because of `refuse`.
   * @throws Error if the proxy is closed
   */
  async forward(): Promise<void> {
    await this.listen();
    this.currentMode = 'forward';
  }

  /** Refuses new connections (ECONNREFUSED). Open connections stay open. */
  refuse(): void {
    this.currentMode = 'refuse';
    this.tcp.stop();
  }

  /**
   * Accepts new connections but passes no bytes on them. These connections stay silent, even if `forward` serves later connections.
   * @throws Error if the proxy is closed
   */
  async staySilent(): Promise<void> {
    await this.listen();
    this.currentMode = 'silent';
  }

  /**
   * Forwards new connections to a different upstream, 'host:port'.
   * @throws TypeError if `upstream` has a different form
   */
  retarget(upstream: string): void {
    this.upstream = parseUpstream('FaultProxy', upstream);
  }

  /** Resets all open connections (RST to both sides) and returns their number. */
  resetAll(): number {
    return this.endAll('rst');
  }

  /** Closes all open connections cleanly (FIN to both sides) and returns their number. */
  closeAll(): number {
    return this.endAll('fin');
  }

  /**
   * Turns the open connections into black holes: they stay open but pass no bytes in `direction`. Data sent during this time, including FIN
   * and RST, passes after `releaseBytes`. New connections are not affected; use `staySilent` for those.
   * @throws RangeError that names the invalid argument
   */
  holdBytes(direction: Direction | 'both' = 'both'): void {
    checkDirection('holdBytes', direction);
    for (const connection of this.connections) for (const way of ways(direction)) connection.pipes[way].hold();
  }

  /**
   * Ends `holdBytes` in `direction`.
   * @throws RangeError that names the invalid argument
   */
  releaseBytes(direction: Direction | 'both' = 'both'): void {
    checkDirection('releaseBytes', direction);
    for (const connection of this.connections) for (const way of ways(direction)) connection.pipes[way].release();
  }

  /**
   * Cuts each present or future connection on which no byte has arrived for `ms` milliseconds (above 0). If `how` is 'silent', neither side
   * is notified, and no further data passes on that connection. Time during which this process was suspended or blocked does not count.
   * `undefined` disables the cuts.
   * @throws RangeError that names the invalid argument
   */
  cutIdleAfter(ms: number | undefined, how: IdleCloseMode = 'fin'): void {
    checkIdleCut(ms, how);
    this.idleCut = ms === undefined ? undefined : { ms, how };
    for (const connection of this.connections) connection.cutWhenIdle(this.idleCut);
  }

  /**
   * Delays the bytes in `direction` by `ms` milliseconds (0 or more) on present and future connections, without reordering them. 0 disables
   * the delay.
   * @throws RangeError that names the invalid argument
   */
  delay(ms: number, direction: Direction | 'both' = 'both'): void {
    checkDelay(ms, direction);
    for (const way of ways(direction)) {
      this.delays[way] = ms;
      for (const { pipes } of this.connections) pipes[way].delayMs = ms;
    }
  }

  /**
   * Ends a connection after `bytes` bytes have passed in `direction`, even in the middle of a write. On open connections, bytes are counted
   * from now; on future connections, from their start. The fault ends after `times` connections (default 1), or immediately if `bytes` is
   * `Infinity`.
   * @throws RangeError that names the invalid argument
   */
  closeAfterBytes(bytes: number, direction: Direction, how: CloseMode = 'rst', times = 1): void {
    checkByteRule(bytes, direction, how, times);
    this.byteRule = bytes === Infinity ? undefined : { bytes, direction, how, times };
    for (const connection of this.connections) this.setAllowance(connection);
  }

  /**
   * Ends every fault: bytes pass again, and new connections are forwarded. Resets permanently silenced connections and returns their
   * number. Their clients would not detect the loss otherwise.
   * @throws Error if the proxy is closed
   */
  async heal(): Promise<number> {
    this.cutIdleAfter(undefined);
    this.delay(0);
    this.closeAfterBytes(Infinity, 'to-client');
    this.releaseBytes();
    await this.forward();
    return this.resetSilenced();
  }

  /** Resets only the connections silenced permanently, by `staySilent` or a silent idle cut, and returns their number. */
  resetSilenced(): number {
    const silenced = [...this.connections].filter(({ isSilenced }) => isSilenced);
    const count = silenced.length + this.silent.size;
    for (const connection of silenced) connection.end('rst');
    for (const socket of this.silent) resetSocket(socket);
    return count;
  }

  /** Stops listening, destroys every connection, and resolves when all are closed. */
  async close(): Promise<void> {
    this.isClosed = true;
    // Stops listening before the first await, because a connection accepted later would not be destroyed.
    this.refuse();
    await Promise.all([...this.connections].map((connection) => connection.destroy()));
    await this.tcp.close();
  }

  private async listen(): Promise<void> {
    if (this.isClosed) throw new Error('FaultProxy is closed; write await FaultProxy.start(upstream)');
    await this.tcp.listen();
  }

  private accept(client: Socket): void {
    if (this.currentMode === 'silent') {
      this.acceptSilently(client);
      return;
    }
    const upstream = connect({ ...this.upstream, allowHalfOpen: true, noDelay: true });
    const connection = new ProxiedConnection(client, upstream, this.clock, {
      onPassed: (direction, count) => {
        this.bytes[direction] += count;
      },
      claimCut: () => this.claimCut(),
      onClosed: () => {
        this.connections.delete(connection);
      },
    });
    this.connections.add(connection);
    for (const way of WAYS) connection.pipes[way].delayMs = this.delays[way];
    connection.cutWhenIdle(this.idleCut);
    this.setAllowance(connection);
  }

  private acceptSilently(client: Socket): void {
    this.silent.add(client);
    client.once('close', () => this.silent.delete(client));
    client.on('error', () => undefined);
    client.once('end', () => client.destroy());
    // Incoming data is read and discarded, because a FIN after unread data would not be detected.
    client.resume();
  }

  private endAll(how: CloseMode): number {
    const count = this.connections.size + this.silent.size;
    for (const connection of this.connections) connection.end(how);
    for (const socket of this.silent) {
      if (how === 'fin') socket.destroySoon();
      else resetSocket(socket);
    }
    return count;
  }

  private setAllowance({ pipes }: ProxiedConnection): void {
    for (const way of WAYS) pipes[way].allowance = this.byteRule?.direction === way ? this.byteRule.bytes : Infinity;
  }

  private claimCut(): CloseMode | undefined {
    const rule = this.byteRule;
    if (rule === undefined) return undefined;
    rule.times -= 1;
    if (rule.times <= 0) this.closeAfterBytes(Infinity, rule.direction);
    return rule.how;
  }
}

function ways(direction: Direction | 'both'): readonly Direction[] {
  return direction === 'both' ? WAYS : [direction];
}
