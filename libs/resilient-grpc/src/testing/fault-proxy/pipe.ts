import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../time/clock.js';
import { resetSocket } from '../tcp-listener.js';
import type { CloseMode } from './faults.js';

type Item = { readonly dueAt: number } & (
  { readonly kind: 'bytes'; readonly bytes: Buffer } | { readonly kind: 'fin' } | { readonly kind: 'rst' }
);

// Number of queued bytes above which the pipe stops reading its source. A full TCP window then stops the sender, as on a real network.
const MAX_QUEUED_BYTES = 64 * 1024;

/** Callbacks through which a pipe notifies its connection. */
export interface PipeEvents {
  /** Called when bytes have arrived from the source. */
  onArrival(): void;
  /** Called when bytes are written to the sink. */
  onPassed(count: number): void;
  /** Called when the source has ended its side or failed. */
  onSourceEnded(): void;
  /**
   * Called before a write that uses up `allowance`. Returns how to end the connection after the allowed bytes, or `undefined` to keep the
   * connection.
   */
  claimCut(): CloseMode | undefined;
  /** Called when the last allowed bytes have passed. */
  onCut(how: CloseMode): void;
}

/** One direction of a connection: an ordered queue between two sockets. It can be delayed, held, or cut at a byte. */
export class Pipe {
  /** Number of bytes that may still pass before `claimCut` is called. */
  allowance = Infinity;
  delayMs = 0;
  private queue: Item[] = [];
  private queuedBytes = 0;
  private timer: Timer | undefined;
  private held = false;
  private sinkIsFull = false;
  private closed = false;

  constructor(
    private readonly source: Socket,
    private readonly sink: Socket,
    private readonly clock: Clock,
    private readonly events: PipeEvents,
  ) {
    source.on('data', (bytes: Buffer) => {
      if (this.closed) return;
      events.onArrival();
      this.queuedBytes += bytes.length;
      this.enqueue({ kind: 'bytes', bytes, dueAt: this.dueAt() });
    });
    source.once('end', () => {
      this.enqueue({ kind: 'fin', dueAt: this.dueAt() });
      events.onSourceEnded();
    });
    source.on('error', () => {
      this.enqueue({ kind: 'rst', dueAt: this.dueAt() });
      events.onSourceEnded();
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
    const dueAt = this.clock.now() + this.delayMs;
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
      const waitMs = item.dueAt - this.clock.now();
      if (waitMs > 0) {
        this.timer = this.clock.setTimer(() => this.flush(), waitMs);
        break;
      }
      this.queue.shift();
      this.deliver(item);
    }
    if (this.queuedBytes <= MAX_QUEUED_BYTES && this.source.isPaused()) this.source.resume();
  }

  private deliver(item: Item): void {
    if (item.kind === 'bytes') this.deliverBytes(item.bytes);
    else if (item.kind === 'fin') this.sink.end();
    else resetSocket(this.sink);
  }

  private deliverBytes(bytes: Buffer): void {
    this.queuedBytes -= bytes.length;
    if (this.sink.destroyed) return;
    const allowed = this.allowance;
    const how = bytes.length >= allowed ? this.events.claimCut() : undefined;
    if (how !== undefined) {
      this.deliverLast(bytes.subarray(0, allowed), how);
      return;
    }
    this.allowance -= bytes.length;
    this.events.onPassed(bytes.length);
    if (!this.sink.write(bytes)) {
      this.sinkIsFull = true;
      this.sink.once('drain', () => {
        this.sinkIsFull = false;
        this.flush();
      });
    }
  }

  private deliverLast(bytes: Buffer, how: CloseMode): void {
    this.events.onPassed(bytes.length);
    this.closed = true;
    this.queue = [];
    // Waits until the kernel has accepted the last byte. Otherwise, an RST would overtake it.
    this.sink.write(bytes, () => this.events.onCut(how));
  }
}
