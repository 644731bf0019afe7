import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { parseUpstream, resetSocket, TcpListener } from '../tcp-listener.js';
import { ProxiedConnection, type CloseMode, type Direction, type ProxyState } from './proxied-connection.js';

const WAYS: readonly Direction[] = ['to-upstream', 'to-client'];

/**
 * A TCP proxy on 127.0.0.1 that injects network faults. `forward`, `refuse`, `staySilent`, and `retarget` determine how new connections are
 * served; the other methods affect the bytes of connections, or end connections. Use its `url` as the client's target.
 */
export class FaultProxy {
  private readonly tcp: TcpListener;
  private readonly connections = new Set<ProxiedConnection>();
  private readonly silent = new Set<Socket>();
  private readonly state: ProxyState = {
    delaysMs: { 'to-upstream': 0, 'to-client': 0 },
    bytes: { 'to-upstream': 0, 'to-client': 0 },
    idleCut: undefined,
    byteRule: undefined,
  };
  private isSilent = false;
  private isClosed = false;

  private constructor(
    private upstream: { readonly host: string; readonly port: number },
    port: number | undefined,
  ) {
    // Half-open, so that a FIN from one side is forwarded to the other and has no further effect.
    this.tcp = new TcpListener((socket) => this.accept(socket), { port, allowHalfOpen: true });
  }

  /**
   * Starts a proxy that forwards to `upstream`, 'host:port'. It listens on `options.port`; by default, on a free port.
   * @throws Error if `upstream` has a different form, or `options.port` is in use
   */
  static async start(upstream: string, options: { readonly port?: number | undefined } = {}): Promise<FaultProxy> {
    const proxy = new FaultProxy(parseUpstream(upstream), options.port);
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
    /** Number of connections whose client is still connected. */
    readonly open: number;
    readonly bytesToUpstream: number;
    readonly bytesToClient: number;
  } {
    return {
      accepted: this.tcp.accepted,
      open: [...this.connections].filter(({ hasClient }) => hasClient).length + this.silent.size,
      bytesToUpstream: this.state.bytes['to-upstream'],
      bytesToClient: this.state.bytes['to-client'],
    };
  }

  /**
   * Forwards new connections. Listens on the same port again if the proxy has stopped listening because of `refuse`.
   * @throws Error if the proxy is closed
   */
  async forward(): Promise<void> {
    await this.listen();
    this.isSilent = false;
  }

  /** Refuses new connections (ECONNREFUSED). Open connections stay open. */
  refuse(): void {
    this.tcp.stop();
  }

  /**
   * Accepts new connections but passes no bytes on them. These connections stay silent, even if `forward` serves later connections.
   * @throws Error if the proxy is closed
   */
  async staySilent(): Promise<void> {
    await this.listen();
    this.isSilent = true;
  }

  /**
   * Forwards new connections to a different upstream, 'host:port'.
   * @throws TypeError if `upstream` has a different form
   */
  retarget(upstream: string): void {
    this.upstream = parseUpstream(upstream);
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
   */
  holdBytes(direction: Direction | 'both' = 'both'): void {
    for (const connection of this.connections) for (const way of ways(direction)) connection.pipes[way].hold();
  }

  /** Ends `holdBytes` in `direction`. */
  releaseBytes(direction: Direction | 'both' = 'both'): void {
    for (const connection of this.connections) for (const way of ways(direction)) connection.pipes[way].release();
  }

  /**
   * Cuts each present or future connection on which no byte has arrived for `ms` milliseconds (above 0). If `how` is 'silent', neither side
   * is notified, and no further data passes on that connection. Time during which this process was suspended or blocked does not count.
   * `undefined` disables the cuts.
   */
  cutIdleAfter(ms: number | undefined, how: CloseMode | 'silent' = 'fin'): void {
    this.state.idleCut = ms === undefined ? undefined : { ms, how };
    for (const connection of this.connections) connection.armIdleTimer();
  }

  /**
   * Delays the bytes in `direction` by `ms` milliseconds (0 or more) on present and future connections, without reordering them. 0 disables
   * the delay.
   */
  delay(ms: number, direction: Direction | 'both' = 'both'): void {
    for (const way of ways(direction)) this.state.delaysMs[way] = ms;
  }

  /**
   * Ends a connection after `bytes` bytes have passed in `direction`, even in the middle of a write. On open connections, bytes are counted
   * from now; on future connections, from their start. The fault ends after `times` connections (default 1), or immediately if `bytes` is
   * `Infinity`.
   */
  closeAfterBytes(bytes: number, direction: Direction, how: CloseMode = 'rst', times = 1): void {
    this.state.byteRule = bytes === Infinity ? undefined : { bytes, direction, how, times };
    for (const connection of this.connections) connection.countBytes();
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
    if (this.isSilent) {
      this.acceptSilently(client);
      return;
    }
    const upstream = connect({ ...this.upstream, allowHalfOpen: true, noDelay: true });
    const connection = new ProxiedConnection(client, upstream, this.state, () => {
      this.connections.delete(connection);
    });
    this.connections.add(connection);
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
}

function ways(direction: Direction | 'both'): readonly Direction[] {
  return direction === 'both' ? WAYS : [direction];
}
