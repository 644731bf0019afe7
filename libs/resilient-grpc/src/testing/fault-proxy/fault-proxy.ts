import { connect, Socket } from 'node:net';
import { parseUpstream, resetSocket, TcpListener, destroySocket } from '../tcp-listener.js';
import { systemClock, type Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';

const WAYS: readonly Direction[] = ['to-upstream', 'to-client'];

/**
 * A TCP proxy on 127.0.0.1 that injects network faults. `forward`, `refuse`, `staySilent`, and `retarget` determine how new connections are
 * served; the other methods affect the bytes of connections, or end connections. Use its `url` as the client's target.
 */
export class FaultProxy {
  private readonly tcp: TcpListener;
  private readonly connections = new Set<ProxiedConnection>();
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

  get counters(): {
    readonly accepted: number;
    readonly open: number;
    readonly bytesToUpstream: number;
    readonly bytesToClient: number;
  } {
    return {
      accepted: this.tcp.accepted,
      open: [...this.connections].filter(({ hasClient }) => hasClient).length,
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
    for (const connection of silenced) connection.end('rst');
    return silenced.length;
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
    const upstream = this.isSilent
      ? new Socket().destroy()
      : connect({ ...this.upstream, allowHalfOpen: true, noDelay: true });
    const connection = new ProxiedConnection(client, upstream, this.state, () => {
      this.connections.delete(connection);
    });
    if (this.isSilent) connection.silence();
    this.connections.add(connection);
  }

  private endAll(how: CloseMode): number {
    for (const connection of this.connections) connection.end(how);
    return this.connections.size;
  }
}

function ways(direction: Direction | 'both'): readonly Direction[] {
  return direction === 'both' ? WAYS : [direction];
}

/** The direction of bytes through a proxy. */
export type Direction = 'to-upstream' | 'to-client';

/** The way a connection is ended: 'fin' closes it cleanly; 'rst' resets it. */
export type CloseMode = 'fin' | 'rst';

export interface ProxyState {
  readonly delaysMs: Record<Direction, number>;
  readonly bytes: Record<Direction, number>;
  /** Cuts connections on which no byte has arrived for `ms` milliseconds. 'silent' notifies neither side. */
  idleCut: { readonly ms: number; readonly how: CloseMode | 'silent' } | undefined;
  /** Ends `times` more connections after `bytes` bytes. */
  byteRule:
    { readonly bytes: number; readonly direction: Direction; readonly how: CloseMode; times: number } | undefined;
}

export class ProxiedConnection {
  /** True if the connection was cut without notifying either side. */
  isSilenced = false;
  hasClient = true;
  readonly pipes: Readonly<Record<Direction, Pipe>>;
  private idleTimer: Timer | undefined;
  private lastByteAt = systemClock.now();
  private openSockets = 2;

  constructor(
    private readonly client: Socket,
    private readonly upstream: Socket,
    private readonly state: ProxyState,
    onClosed: () => void,
  ) {
    this.pipes = {
      'to-upstream': new Pipe(this, 'to-upstream', client, upstream, state),
      'to-client': new Pipe(this, 'to-client', upstream, client, state),
    };
    for (const socket of [client, upstream]) {
      socket.once('close', () => {
        if (socket === client) this.hasClient = false;
        this.openSockets -= 1;
        if (this.openSockets > 0) return;
        this.stop();
        onClosed();
      });
    }
    this.armIdleTimer();
    this.countBytes();
  }

  armIdleTimer(): void {
    this.idleTimer?.clear();
    const cut = this.state.idleCut;
    if (cut === undefined || this.isSilenced || this.openSockets === 0) return;
    const leftMs = this.lastByteAt + cut.ms - systemClock.now();
    // One timer that checks the last arrival and rearms itself. Resetting a timer on every read would be too expensive on busy connections.
    // A `PeerTimer`, because the connection is not necessarily idle after a pause of this process: bytes from the peers may be unread.
    this.idleTimer = new PeerTimer(systemClock, leftMs, () => {
      if (this.lastByteAt + cut.ms > systemClock.now()) this.armIdleTimer();
      else if (cut.how === 'silent') this.silence();
      else this.end(cut.how);
    });
  }

  countBytes(): void {
    const { byteRule } = this.state;
    for (const [direction, pipe] of Object.entries(this.pipes))
      pipe.allowance = byteRule?.direction === direction ? byteRule.bytes : Infinity;
  }

  end(how: CloseMode): void {
    this.stop();
    for (const socket of [this.client, this.upstream]) {
      if (how === 'fin') socket.destroySoon();
      else resetSocket(socket);
    }
    this.hasClient = false;
  }

  async destroy(): Promise<void> {
    this.stop();
    await Promise.all([destroySocket(this.client), destroySocket(this.upstream)]);
  }

  bytesArrived(): void {
    this.lastByteAt = systemClock.now();
  }

  sourceEnded(source: Socket): void {
    if (source === this.client) this.hasClient = false;
    if (this.isSilenced) source.destroy();
  }

  /** Cuts the connection without notifying either side. Incoming data is discarded from now on. */
  silence(): void {
    this.isSilenced = true;
    this.stop();
  }

  private stop(): void {
    this.idleTimer?.clear();
    for (const pipe of Object.values(this.pipes)) pipe.close();
  }
}

type Item = { readonly dueAt: number } & ({ readonly bytes: Buffer } | { readonly end: CloseMode });

// Number of queued bytes above which the pipe stops reading its source. A full TCP window then stops the sender, as on a real network.
const MAX_QUEUED_BYTES = 64 * 1024;

class Pipe {
  allowance = Infinity;
  private queue: Item[] = [];
  private queuedBytes = 0;
  private timer: Timer | undefined;
  private held = false;
  private sinkIsFull = false;
  private closed = false;

  constructor(
    private readonly connection: ProxiedConnection,
    private readonly direction: Direction,
    private readonly source: Socket,
    private readonly sink: Socket,
    private readonly state: ProxyState,
  ) {
    source.on('data', (bytes: Buffer) => {
      if (this.closed) return;
      connection.bytesArrived();
      this.queuedBytes += bytes.length;
      this.enqueue({ bytes, dueAt: this.dueAt() });
    });
    source.once('end', () => {
      this.enqueue({ end: 'fin', dueAt: this.dueAt() });
      connection.sourceEnded(source);
    });
    source.on('error', () => {
      this.enqueue({ end: 'rst', dueAt: this.dueAt() });
      connection.sourceEnded(source);
    });
  }

  hold(): void {
    this.held = true;
  }

  release(): void {
    this.held = false;
    this.flush();
  }

  /** Stops passing data. Incoming data is read and discarded, so that a FIN is still detected. */
  close(): void {
    this.closed = true;
    this.queue = [];
    this.queuedBytes = 0;
    this.timer?.clear();
    if (!this.source.destroyed) this.source.resume();
  }

  private dueAt(): number {
    const dueAt = systemClock.now() + this.state.delaysMs[this.direction];
    // After the delay is shortened, later bytes must not overtake earlier ones.
    return Math.max(dueAt, this.queue.at(-1)?.dueAt ?? dueAt);
  }

  private enqueue(item: Item): void {
    if (this.closed) return;
    this.queue.push(item);
    this.flush();
    if (this.queuedBytes > MAX_QUEUED_BYTES) this.source.pause();
  }

  private flush(): void {
    this.timer?.clear();
    while (!this.closed && !this.held && !this.sinkIsFull) {
      const item = this.queue[0];
      if (item === undefined) break;
      const waitMs = item.dueAt - systemClock.now();
      if (waitMs > 0) {
        this.timer = systemClock.setTimer(() => this.flush(), waitMs);
        break;
      }
      this.queue.shift();
      if ('bytes' in item) this.deliver(item.bytes);
      else if (item.end === 'fin') this.sink.end();
      else resetSocket(this.sink);
    }
    if (this.queuedBytes <= MAX_QUEUED_BYTES && this.source.isPaused()) this.source.resume();
  }

  private deliver(bytes: Buffer): void {
    this.queuedBytes -= bytes.length;
    if (this.sink.destroyed) return;
    const rule = bytes.length >= this.allowance ? this.state.byteRule : undefined;
    const passed = rule === undefined ? bytes : bytes.subarray(0, this.allowance);
    this.state.bytes[this.direction] += passed.length;
    this.allowance -= passed.length;
    if (rule !== undefined) {
      rule.times -= 1;
      if (rule.times <= 0) this.state.byteRule = undefined;
      this.closed = true;
      this.queue = [];
      // Waits until the kernel has accepted the last byte. Otherwise, an RST would overtake it.
      this.sink.write(passed, () => this.connection.end(rule.how));
    } else if (!this.sink.write(bytes)) {
      this.sinkIsFull = true;
      this.sink.once('drain', () => {
        this.sinkIsFull = false;
        this.flush();
      });
    }
  }
}
