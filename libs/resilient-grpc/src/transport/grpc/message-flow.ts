import { MessageReader, PREFIX_BYTES, type MessageSink, type UnreadableMessage } from './message-reader.js';

/** Size of the memory in which bytes without demand are kept, once that many wait. */
const BLOCK_BYTES = 65_536;

/** Bytes that wait, `bytes[0..end)`. */
interface Block {
  readonly bytes: Buffer;
  end: number;
}

/**
 * The messages of a stream on demand. What arrives without demand stays as it is until it is wanted: it takes no more memory than window, even
 * if it consists of empty messages.
 */
export class MessageFlow implements MessageSink {
  private readonly reader: MessageReader;
  private demand = 0;
  /** Bytes without demand, from `from` in the first block. They start with a message. */
  private unread: Block[] | undefined;
  private from = 0;
  /** Bytes that have arrived without demand. */
  unreadBytes = 0;
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

  /** Memory of the incomplete message that is wanted. */
  get assembledBytes(): number {
    return this.reader.reservedBytes;
  }

  /** True if nothing waits, not even a part of a message. */
  get isIdle(): boolean {
    return this.unreadBytes === 0 && this.reader.isIdle;
  }

  /** True if a message has arrived for which there was no demand. */
  get hasMessage(): boolean {
    const { unreadBytes } = this;
    return unreadBytes >= PREFIX_BYTES && unreadBytes >= PREFIX_BYTES + this.firstLength();
  }

  /** Requests `count` more messages. Returns the problem of a message that cannot be read. */
  request(count: number): UnreadableMessage | undefined {
    this.demand += count;
    // The sink may request the next message while it takes one.
    if (this.isReading || this.unread === undefined) return undefined;
    this.isReading = true;
    const problem = this.readUnread(this.unread);
    this.isReading = false;
    return problem;
  }

  /** Takes `bytes[from..end)`, which are not valid after the call. Returns the problem of a message that cannot be read. */
  take(bytes: Buffer, from: number, end: number): UnreadableMessage | undefined {
    let at = from;
    if (this.demand > 0) {
      this.isReading = true;
      const problem = this.reader.read(bytes, from, end);
      this.isReading = false;
      if (problem !== undefined) return problem;
      at = this.reader.readTo;
    }
    if (at < end && !this.isStopped) this.keep(bytes, at, end);
    return undefined;
  }

  /** Drops what waits, and delivers nothing more. */
  stop(): void {
    this.isStopped = true;
    this.unread = undefined;
    this.unreadBytes = 0;
    this.reader.stop();
  }

  message(message: Buffer, isCompressed: boolean): void {
    this.demand -= 1;
    this.sink.message(message, isCompressed);
    if (this.demand <= 0) this.reader.stop();
  }

  private readUnread(unread: Block[]): UnreadableMessage | undefined {
    for (let [block] = unread; block !== undefined && this.demand > 0 && !this.isStopped; [block] = unread) {
      const problem = this.reader.read(block.bytes, this.from, block.end);
      if (problem !== undefined) return problem;
      const { readTo } = this.reader;
      // The sink may have stopped the flow.
      if (this.unread === undefined) return undefined;
      this.unreadBytes -= readTo - this.from;
      this.from = readTo;
      if (readTo < block.end) return undefined;
      unread.shift();
      this.from = 0;
    }
    if (unread.length === 0) this.unread = undefined;
    return undefined;
  }

  private keep(bytes: Buffer, from: number, end: number): void {
    const blocks = (this.unread ??= []);
    const last = blocks.at(-1);
    let at = from;
    if (last !== undefined) {
      at += bytes.copy(last.bytes, last.end, from, end);
      last.end += at - from;
    }
    this.unreadBytes += end - from;
    if (at === end) return;
    const size = Math.max(end - at, Math.min(this.unreadBytes, BLOCK_BYTES));
    // What waits alone, mostly a small message, takes its own size.
    const kept = last === undefined ? Buffer.allocUnsafe(end - at) : Buffer.allocUnsafeSlow(size);
    bytes.copy(kept, 0, at, end);
    blocks.push({ bytes: kept, end: end - at });
  }

  /** Length in the prefix of the first message that waits, which may lie in several blocks. */
  private firstLength(): number {
    let length = 0;
    let skipped = 0;
    let at = this.from;
    for (const { bytes, end } of this.unread ?? []) {
      for (; at < end && skipped < PREFIX_BYTES; at++, skipped++) {
        // Each is below 256. The flag comes first.
        if (skipped > 0) length = length * 256 + bytes[at]!;
      }
      if (skipped === PREFIX_BYTES) break;
      at = 0;
    }
    return length;
  }
}
