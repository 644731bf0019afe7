/** Size of the length prefix. */
export const PREFIX_BYTES = 5;
/** Largest message for which memory is reserved by its announced size; a larger one is assembled in memory that grows with what arrives. */
const MAX_TRUSTED_BYTES = 262_144;
/** Factor by which that memory exceeds what has arrived, and by which it grows in the end. Memory that was never written is not resident. */
const GROWTH = 8;

/** Receives the messages of a stream. */
export interface MessageSink {
  /** @param message own memory */
  message(message: Buffer, isCompressed: boolean): void;
}

/** A message that cannot be read. */
export interface UnreadableMessage {
  readonly problem: 'compressed-flag' | 'too-large' | 'incomplete';
  readonly details: string;
}

/** Splits the payload of a stream into length-prefixed messages (gRPC over HTTP/2, Length-Prefixed-Message). */
export class MessageReader {
  private prefixBytes = 0;
  private length = 0;
  private isCompressed = false;
  /** The message that is being assembled, and the number of its bytes that have arrived. */
  private body: Buffer | undefined;
  private filled = 0;
  private isStopped = false;
  /** End of what the last `read()` has read, if it returned no problem. */
  readTo = 0;

  /**
   * @param maxBytes maximum size of a message
   * @param trustedBytes largest message for which memory is reserved by its announced size
   */
  constructor(
    private readonly sink: MessageSink,
    private readonly maxBytes: number,
    private readonly trustedBytes = MAX_TRUSTED_BYTES,
  ) {}

  /** True between two messages. */
  get isIdle(): boolean {
    return this.prefixBytes === 0 && this.body === undefined;
  }

  /** Bytes of the incomplete message that have arrived, and memory that was reserved before. */
  get reservedBytes(): number {
    return this.body === undefined ? 0 : Math.max(this.filled, Math.min(this.body.length, this.trustedBytes));
  }

  /** Reads no further messages of the bytes that are being read. */
  stop(): void {
    this.isStopped = true;
  }

  /** Takes `bytes[from..end)`, up to `readTo`. Reads nothing more after it has returned a problem. */
  read(bytes: Buffer, from: number, end: number): UnreadableMessage | undefined {
    let at = from;
    while (at < end && !this.isStopped) {
      if (this.body === undefined) {
        at = this.readPrefix(bytes, at, end);
        if (this.prefixBytes < PREFIX_BYTES) break;
        const { length } = this;
        if (length > this.maxBytes) {
          const details = `Received message larger than max (${String(length)} vs ${String(this.maxBytes)})`;
          return { problem: 'too-large', details };
        }
        if (this.flag > 1) return { problem: 'compressed-flag', details: `the compressed flag ${String(this.flag)}` };
        this.isCompressed = this.flag === 1;
        this.filled = 0;
        // The rest of the message may never arrive.
        const { trustedBytes } = this;
        this.body = Buffer.allocUnsafe(
          length <= trustedBytes ? length : Math.max(trustedBytes, this.capacity(end - at)),
        );
        if (length > 0 && at === end) break;
      }
      at = this.fill(this.body, bytes, at, end);
    }
    this.readTo = at;
    this.isStopped = false;
    return undefined;
  }

  private flag = 0;

  private readPrefix(bytes: Buffer, from: number, end: number): number {
    let at = from;
    for (; at < end && this.prefixBytes < PREFIX_BYTES; at++, this.prefixBytes++) {
      // Each is below 256.
      const byte = bytes[at]!;
      if (this.prefixBytes === 0) {
        this.flag = byte;
        this.length = 0;
      } else this.length = this.length * 256 + byte;
    }
    return at;
  }

  /** Size of the memory for `arrived` bytes. Because the last step is the largest one, about an eighth of a message is copied from one to the next. */
  private capacity(arrived: number): number {
    const grown = GROWTH * arrived;
    return grown < this.length ? Math.min(grown, Math.ceil(this.length / GROWTH)) : this.length;
  }

  private fill(given: Buffer, bytes: Buffer, at: number, end: number): number {
    const size = this.length;
    const next = Math.min(end, at + size - this.filled);
    let body = given;
    const filled = this.filled + next - at;
    if (filled > body.length) {
      body = Buffer.allocUnsafeSlow(this.capacity(filled));
      given.copy(body, 0, 0, this.filled);
      this.body = body;
    }
    bytes.copy(body, this.filled, at, next);
    this.filled = filled;
    if (filled < size) return next;
    this.body = undefined;
    this.prefixBytes = 0;
    this.filled = 0;
    this.sink.message(body, this.isCompressed);
    return next;
  }
}
