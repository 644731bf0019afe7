import type { Readable, Writable } from 'node:stream';

/** The result of `pump`. */
interface Pumped {
  /**
   * 'ended': the source ended without an error, which is possible after a reset, too. 'reached': the given number of messages was
   * forwarded. 'cut': the source or the sink was lost.
   */
  readonly outcome: 'ended' | 'reached' | 'cut';
  /** Resolves when the forwarded data has been written to the connection, or the sink is closed. */
  readonly written: Promise<void>;
}

/** Forwards the data of `source` at the pace of `sink`: all data, or up to the end of message number `messages`. */
export async function pump(source: Readable, sink: Writable, messages: number): Promise<Pumped> {
  let written = Promise.resolve();
  if (messages === 0) return { outcome: 'reached', written };
  const count = new MessageCount(messages);
  let settle = (): void => undefined;
  sink.once('close', () => settle());
  try {
    for await (const chunk of chunksOf(source)) {
      // Does not write to an ended sink, because the write would destroy the sink with an error code that Node chooses.
      if (!sink.writable) return { outcome: 'cut', written };
      const end = count.endIn(chunk);
      written = new Promise((resolve) => {
        settle = resolve;
        sink.write(chunk.subarray(0, end), () => resolve());
      });
      if (end !== undefined) return { outcome: 'reached', written };
      if (sink.writableNeedDrain) await written;
    }
    return { outcome: 'ended', written };
  } catch {
    // The source was lost.
    return { outcome: 'cut', written };
  }
}

/** Yields the data of `source`. Also yields the data that arrived before a reset of `source`, because Node's iterator drops this data. */
async function* chunksOf(source: Readable): AsyncGenerator<Buffer> {
  try {
    // The source is not destroyed on return, because the reset that follows must end both streams with its own code.
    yield* source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch (error) {
    const rest = source.read() as Buffer | null;
    if (rest !== null) yield rest;
    throw error;
  }
}

const PREFIX_BYTES = 5;

/** Finds the end of the n-th message in a gRPC byte stream. Each message has a flag byte, a 4-byte length, and that many bytes of data. */
export class MessageCount {
  private remaining: number;
  /** The bytes read so far of the current message's prefix. */
  private readonly prefix: number[] = [];
  /** Number of bytes of the current message that have not arrived yet. */
  private bodyLeft = 0;

  constructor(messages: number) {
    this.remaining = messages;
  }

  /**
   * Returns the number of bytes of `chunk` that belong to the first n messages, or `undefined` if the n-th message does not end in `chunk`.
   */
  endIn(chunk: Uint8Array): number | undefined {
    for (let at = 0; at < chunk.length;) {
      if (this.prefix.length < PREFIX_BYTES) {
        at = this.readPrefix(chunk, at);
        if (this.prefix.length < PREFIX_BYTES) return undefined;
      }
      const step = Math.min(this.bodyLeft, chunk.length - at);
      this.bodyLeft -= step;
      at += step;
      if (this.bodyLeft > 0) return undefined;
      this.prefix.length = 0;
      this.remaining -= 1;
      if (this.remaining === 0) return at;
    }
    return undefined;
  }

  private readPrefix(chunk: Uint8Array, from: number): number {
    const part = chunk.subarray(from, from + PREFIX_BYTES - this.prefix.length);
    this.prefix.push(...part);
    if (this.prefix.length === PREFIX_BYTES) this.bodyLeft = Buffer.from(this.prefix).readUInt32BE(1);
    return from + part.length;
  }
}
