import type { Socket } from 'node:net';
import { systemClock, type Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { destroySocket, resetSocket } from '../tcp-listener.js';

/** The direction of bytes through a proxy. */
export type Direction = 'to-upstream' | 'to-client';

/** The way a connection is ended: 'fin' closes it cleanly; 'rst' resets it. */
export type CloseMode = 'fin' | 'rst';

/** The faults and counters of a proxy, which its connections share. */
export interface ProxyState {
  readonly delaysMs: Record<Direction, number>;
  /** Numbers of forwarded bytes. */
  readonly bytes: Record<Direction, number>;
  /** Cuts connections on which no byte has arrived for `ms` milliseconds. 'silent' notifies neither side. */
  idleCut: { readonly ms: number; readonly how: CloseMode | 'silent' } | undefined;
  /** Ends `times` more connections after `bytes` bytes. */
  byteRule:
    { readonly bytes: number; readonly direction: Direction; readonly how: CloseMode; times: number } | undefined;
}

/** A client connection and the corresponding upstream connection. */
export class ProxiedConnection {
  /** True if the connection was cut without notifying either side. */
  isSilenced = false;
  /** True until the client disconnects or the proxy ends the connection. */
  hasClient = true;
  readonly pipes: Readonly<Record<Direction, Pipe>>;
  private idleTimer: Timer | undefined;
  private lastByteAt = systemClock.now();
  private openSockets = 2;

  /** @param onClosed called when both sockets are closed */
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

  /** Starts the idle time that `state.idleCut` requires. */
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

  /** Counts the bytes of `state.byteRule` from now. */
  countBytes(): void {
    const { byteRule } = this.state;
    for (const [direction, pipe] of Object.entries(this.pipes))
      pipe.allowance = byteRule?.direction === direction ? byteRule.bytes : Infinity;
  }

  /** Ends both sides of the connection. */
  end(how: CloseMode): void {
    this.stop();
    for (const socket of [this.client, this.upstream]) {
      if (how === 'fin') socket.destroySoon();
      else resetSocket(socket);
    }
    this.hasClient = false;
  }

  /** Destroys both sockets, discarding unsent data, and resolves when they are closed. */
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

  private silence(): void {
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

/** One direction of a connection: an ordered queue between two sockets. It can be delayed, held, or cut at a byte. */
class Pipe {
  /** Number of bytes that may still pass before the byte rule of the proxy applies. */
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
