const PREFIX_BYTES = 5;

/** Finds the end of the n-th message in the bytes of a gRPC stream: each is a flag, its length in four bytes, and so many bytes. */
export class MessageCount {
  #left: number;
  /** Bytes of the prefix that is being read. */
  readonly #prefix: number[] = [];
  /** Bytes of the message that are still to come. */
  #bodyLeft = 0;

  constructor(messages: number) {
    this.#left = messages;
  }

  /** How many bytes of `chunk` belong to the first n messages, when the n-th ends in it; undefined when it does not. */
  endIn(chunk: Uint8Array): number | undefined {
    for (let at = 0; at < chunk.length;) {
      if (this.#prefix.length < PREFIX_BYTES) {
        at = this.#readPrefix(chunk, at);
        if (this.#prefix.length < PREFIX_BYTES) return undefined;
      }
      const step = Math.min(this.#bodyLeft, chunk.length - at);
      this.#bodyLeft -= step;
      at += step;
      if (this.#bodyLeft > 0) return undefined;
      this.#prefix.length = 0;
      this.#left -= 1;
      if (this.#left === 0) return at;
    }
    return undefined;
  }

  #readPrefix(chunk: Uint8Array, from: number): number {
    const part = chunk.subarray(from, from + PREFIX_BYTES - this.#prefix.length);
    this.#prefix.push(...part);
    if (this.#prefix.length === PREFIX_BYTES) this.#bodyLeft = Buffer.from(this.#prefix).readUInt32BE(1);
    return from + part.length;
  }
}
