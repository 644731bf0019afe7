interface QueuedMessage {
  readonly bytes: Uint8Array;
  readonly compressed: number;
  /** The first byte that is not sent yet; negative within the length prefix. */
  offset: number;
}

/** Writes `size` bytes of a message from `offset`. `isLast` is true if they are the last bytes of the queue. */
type WriteQueued = (bytes: Uint8Array, compressed: number, offset: number, size: number, isLast: boolean) => void;

/** Number of sent messages from which on their places are removed. */
const MIN_REMOVED = 64;

/** The messages of a stream that wait for its window or for the socket, in their order. */
export class SendQueue {
  private readonly messages: (QueuedMessage | undefined)[] = [];
  /** Place of the first message that is not sent. */
  private head = 0;
  /** Unsent bytes, including the length prefixes. */
  bytes = 0;

  get size(): number {
    return this.messages.length - this.head;
  }

  /** @param bytes nobody changes them */
  add(bytes: Uint8Array, compressed: number, offset: number): void {
    this.messages.push({ bytes, compressed, offset });
    this.bytes += bytes.length - offset;
  }

  /** Passes at most `room` bytes to `write`. */
  take(room: number, write: WriteQueued): void {
    const { messages } = this;
    for (let left = room; left > 0;) {
      const message = messages[this.head];
      if (message === undefined) break;
      const { bytes, compressed, offset } = message;
      const size = Math.min(bytes.length - offset, left);
      left -= size;
      this.bytes -= size;
      message.offset += size;
      if (message.offset === bytes.length) messages[this.head++] = undefined;
      write(bytes, compressed, offset, size, this.size === 0);
    }
    if (this.head < MIN_REMOVED || this.head * 2 < messages.length) return;
    messages.splice(0, this.head);
    this.head = 0;
  }
}
