import type { Observable } from 'rxjs';
import { LinkedQueue } from '../call/iterator-source.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { ResumeError } from '../errors/stream-errors.js';
import type { LedgerLimits } from '../policy/replay/replay-ledger.js';
import { StatusCode } from '../status/status-code.js';
import { CancellableRun } from './cancellable-run.js';

/** Default maximum number of messages buffered while the sink is full. */
export const MAX_HELD_MESSAGES = 1_000;

/** `prefetch` of a source without flow control; it does not limit the source. */
export const PLAIN_PREFETCH = 16;

/** Maximum number and total size of the messages that a `PlainSource` may buffer. */
export interface HeldLimits<T> extends LedgerLimits {
  readonly bytesOf: (message: T) => number;
  /** Moves buffered messages to the sink while it has room. Called when a message exceeds a limit, before `overflow`. */
  readonly makeRoom?: () => void;
}

interface HeldMessage<T> {
  readonly message: T;
  readonly bytes: number;
  next: HeldMessage<T> | undefined;
}

const DEFAULT_LIMITS: HeldLimits<unknown> = { messages: MAX_HELD_MESSAGES, bytes: Infinity, bytesOf: () => 0 };

/**
 * Adapts an Observable to a stream source. An Observable cannot be paused, so messages that arrive while the sink is full are buffered, up
 * to a limit. Buffered messages are delivered before the error or completion.
 */
export class PlainSource<T> implements StreamSource {
  readonly prefetch = PLAIN_PREFETCH;

  private readonly run = new CancellableRun<T>();
  private readonly buffer = new LinkedQueue<HeldMessage<T>>();
  private bufferedBytes = 0;
  private end: (() => void) | undefined;
  private isDelivering = false;

  constructor(
    private readonly observable: Observable<T>,
    private readonly sink: StreamSink<T>,
    /** Called when a message exceeds a limit, with the number and size of the messages buffered before it; no event follows. */
    private readonly overflow: (held: LedgerLimits) => void,
    private readonly limits: HeldLimits<T> = DEFAULT_LIMITS,
    private isSinkReady = true,
  ) {}

  get queued(): number {
    return this.buffer.size;
  }

  begin(): void {
    this.run.start(this.observable, {
      next: (message) => this.take(message),
      error: (error: unknown) => this.endWith(() => this.sink.error(error)),
      complete: () => this.endWith(() => this.sink.complete()),
    });
  }

  resumeReading(): void {
    this.isSinkReady = true;
    this.deliver();
  }

  /** Unsubscribes. Delivers buffered messages, then the pending end, or else a completion. Must be called before the end is delivered. */
  finish(): void {
    this.run.stop();
    this.endWith(this.end ?? (() => this.sink.complete()));
  }

  unsubscribe(): void {
    this.buffer.clear();
    this.bufferedBytes = 0;
    this.end = undefined;
    this.run.stop();
  }

  private take(message: T): void {
    const { buffer, limits } = this;
    const bytes = limits.bytesOf(message);
    buffer.push({ message, bytes, next: undefined });
    this.bufferedBytes += bytes;
    this.deliver();
    if (!this.exceedsLimits()) return;
    limits.makeRoom?.();
    if (!this.exceedsLimits()) return;
    const held = { messages: buffer.size - 1, bytes: this.bufferedBytes - bytes };
    this.unsubscribe();
    this.overflow(held);
  }

  /** True if the buffered messages exceed a limit. A single message may have any size, as in `ReplayLedger`. */
  private exceedsLimits(): boolean {
    const { buffer, limits } = this;
    return buffer.size > 1 && (buffer.size > limits.messages || this.bufferedBytes > limits.bytes);
  }

  private endWith(end: () => void): void {
    this.end = end;
    this.deliver();
  }

  /**
   * Delivers buffered messages, then the end. A reentrant call returns immediately. The running loop then delivers the message that was
   * emitted inside `sink.next`, in order and without growing the stack.
   */
  private deliver(): void {
    if (this.isDelivering) return;
    this.isDelivering = true;
    while (this.isSinkReady) {
      const held = this.buffer.shift();
      if (held === undefined) break;
      this.bufferedBytes -= held.bytes;
      this.isSinkReady = this.sink.next(held.message) !== false;
    }
    this.isDelivering = false;
    if (this.buffer.size > 0) return;
    const { end } = this;
    this.end = undefined;
    end?.();
  }
}

/** Creates the error for a pulled stream whose source has no flow control and is faster than the reader. */
export function bufferOverflowError(): ResumeError {
  return new ResumeError(
    'slow-reader',
    StatusCode.RESOURCE_EXHAUSTED,
    `More than ${String(MAX_HELD_MESSAGES)} messages arrived before the reader requested them, because the Observable that the factory ` +
      "returned has no flow control; return the client's call itself from the factory, and apply pipe() to the resulting stream",
  );
}
