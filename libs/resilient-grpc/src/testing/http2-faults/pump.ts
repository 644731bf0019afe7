import type { Readable, Writable } from 'node:stream';

/** Forwards the data of `source` at the pace of `sink`: all data, or up to the end of message number `messages`. */
export async function pump(source: Readable, sink: Writable, messages: number): Promise<'ended' | 'reached' | 'cut'> {
  if (messages === 0) return 'reached';
  const count = new MessageCount(messages);
  try {
    // The source is not destroyed on return, because the reset that follows must end both streams with its own code.
    for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      const end = count.endIn(chunk);
      if (end !== undefined) {
        await write(sink, chunk.subarray(0, end));
        return 'reached';
      }
      if (!sink.write(chunk)) await drained(sink);
      if (sink.destroyed) return 'cut';
    }
    return 'ended';
  } catch {
    // The source was lost.
    return 'cut';
  }
}

/** Writes `bytes`. Resolves when they are written or the sink is closed. */
function write(sink: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    sink.once('close', resolve);
    sink.write(bytes, () => {
      resolve();
    });
  });
}

function drained(sink: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      sink.off('close', done);
      sink.off('drain', done);
      resolve();
    };
    sink.once('close', done);
    sink.once('drain', done);
  });
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
