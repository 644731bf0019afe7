import { MessageReader, PREFIX_BYTES, type MessageSink, type UnreadableMessage } from './message-reader.js';

/**
 * The messages of a stream on demand. What arrives without demand stays as it is until it is wanted: it takes no more memory than window, even
 * if it consists of empty messages.
 */
export class MessageFlow implements MessageSink {
  private readonly reader: MessageReader;
  private demand = 0;
  /** Bytes without demand, `unread[from..end)`. They start with a message. */
  private unread: Buffer | undefined;
  private from = 0;
  private end = 0;
  /** True while messages are passed on. What waits is not counted meanwhile. */
  isReading = false;
  private isStopped = false;

  /**
   * @param maxMessageBytes maximum size of a message
   * @param trustedBytes largest message for which memory is reserved by its announced size
   */
  constructor(
    private readonly sink: MessageSink,
    maxMessageBytes: number,
    trustedBytes?: number,
  ) {
    this.reader = new MessageReader(this, maxMessageBytes, trustedBytes);
  }

  /** Bytes that have arrived without demand. */
  get unreadBytes(): number {
    return this.end - this.from;
  }

  /** Memory of the incomplete message that is wanted. */
  get assembledBytes(): number {
    return this.reader.reservedBytes;
  }

  /** True if nothing waits, not even a part of a message. */
  get isIdle(): boolean {
    return this.from === this.end && this.reader.isIdle;
  }

  /** True if a message has arrived for which there was no demand. */
  get hasMessage(): boolean {
    const { unread, from, unreadBytes } = this;
    return (
      unread !== undefined && unreadBytes >= PREFIX_BYTES && unreadBytes >= PREFIX_BYTES + unread.readUInt32BE(from + 1)
    );
  }

  /** Requests `count` more messages. Returns the problem of a message that cannot be read. */
  request(count: number): UnreadableMessage | undefined {
    this.demand += count;
    const { unread, from, end } = this;
    // The sink may request the next message while it takes one.
    if (this.isReading || unread === undefined) return undefined;
    this.unread = undefined;
    this.from = 0;
    this.end = 0;
    return this.take(unread, from, end, true);
  }

  /**
   * Takes `bytes[from..end)`. Returns the problem of a message that cannot be read.
   *
   * @param isOwn true if the bytes remain valid after the call
   */
  take(bytes: Buffer, from: number, end: number, isOwn = false): UnreadableMessage | undefined {
    let at = from;
    if (this.demand > 0) {
      this.isReading = true;
      const problem = this.reader.read(bytes, from, end);
      this.isReading = false;
      if (problem !== undefined) return problem;
      at = this.reader.readTo;
    }
    if (at === end || this.isStopped) return undefined;
    if (isOwn) {
      this.unread = bytes;
      this.from = at;
      this.end = end;
    } else this.keep(bytes, at, end);
    return undefined;
  }

  /** Drops what waits, and delivers nothing more. */
  stop(): void {
    this.isStopped = true;
    this.unread = undefined;
    this.from = 0;
    this.end = 0;
    this.reader.stop();
  }

  message(message: Buffer, isCompressed: boolean): void {
    this.demand -= 1;
    this.sink.message(message, isCompressed);
    if (this.demand <= 0) this.reader.stop();
  }

  private keep(bytes: Buffer, from: number, end: number): void {
    const size = this.unreadBytes + end - from;
    if (this.unread === undefined || this.end + end - from > this.unread.length) {
      const kept = Buffer.allocUnsafe(this.unread === undefined ? size : 2 * size);
      this.unread?.copy(kept, 0, this.from, this.end);
      this.end = this.unreadBytes;
      this.from = 0;
      this.unread = kept;
    }
    bytes.copy(this.unread, this.end, from, end);
    this.end += end - from;
  }
}
