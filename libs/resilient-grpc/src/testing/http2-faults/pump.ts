import type { Readable, Writable } from 'node:stream';
import { MessageCount } from './message-count.js';

/** Forwards the data of `source` at the pace of `sink`: all data, or up to the end of message number `messages`. */
export async function pump(source: Readable, sink: Writable, messages: number): Promise<'ended' | 'reached' | 'cut'> {
  if (messages === 0) return 'reached';
  const count = new MessageCount(messages);
  try {
    // The source is not destroyed on return, because the reset that follows must end both streams with its own code.
    for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      const end = count.endIn(chunk);
      if (end !== undefined) {
        await written(sink, chunk.subarray(0, end));
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

/** Resolves when the bytes are written or the sink is closed. */
function written(sink: Writable, bytes: Buffer): Promise<void> {
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
