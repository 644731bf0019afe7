import { promisify } from 'node:util';
import { gunzip, inflate as inflateZlib } from 'node:zlib';

const INFLATERS = { deflate: promisify(inflateZlib), gzip: promisify(gunzip) };

/** Message encoding that `inflate()` supports. */
export type Encoding = keyof typeof INFLATERS;

/** Largest size of a result, relative to its input. */
const MAX_RATIO = 1_032;
/** Size of a result, relative to its input, up to which the size that the sender states is trusted. Honest messages seldom exceed it. */
const MAX_TRUSTED_RATIO = 16;
/** Least size of the pieces of a result. */
const MIN_PIECE_BYTES = 16_384;
/**
 * Number of messages of the process that are inflated at once, as many as Node has threads for it, and size of the results that they may
 * have: until it is complete, a result does not count in any budget of memory.
 */
const MAX_AT_ONCE = 4;
const MAX_BYTES_AT_ONCE = 8_388_608;
let running = 0;
let runningBytes = 0;

const waiting = new Map<symbol, { readonly bytes: number; readonly start: () => void }>();

type Inflated = Buffer | 'too-large' | 'unreadable';

/** A message that waits to be inflated, or is being inflated. */
export interface Inflation {
  /** Never settles after `drop()` has returned true. */
  readonly result: Promise<Inflated>;
  /** Gives up a message that waits. Returns false if it has begun to be inflated: that goes on, and needs the message until the end. */
  drop(): boolean;
}

export function isInflatable(encoding: string): encoding is Encoding {
  return Object.hasOwn(INFLATERS, encoding);
}

/**
 * Inflates `message`. Stops as soon as the result exceeds `maxBytes`, because a few megabytes can inflate to gigabytes. A call that ends must
 * drop its inflation: no budget counts the messages of ended calls.
 *
 * @param maxBytes `Infinity` for no limit
 */
export function inflate(encoding: Encoding, message: Buffer, maxBytes: number): Inflation {
  const key = Symbol('inflation');
  const drop = (): boolean => waiting.delete(key);
  // As several servers send an empty list: no encoding has a form of 0 bytes.
  if (message.length === 0) return { result: Promise.resolve(message), drop };
  const bytes = Math.min(maxBytes, MAX_RATIO * message.length);
  const begun = new Promise<void>((start) => {
    waiting.set(key, { bytes, start });
    startNext();
  });
  return { result: inflateAfter(begun, bytes, encoding, message, maxBytes), drop };
}

async function inflateAfter(
  begun: Promise<void>,
  bytes: number,
  encoding: Encoding,
  message: Buffer,
  maxBytes: number,
): Promise<Inflated> {
  await begun;
  try {
    // In one piece, if the size at the end is right (RFC 1952, section 2.3.1); in a piece of that very size, zlib would not see the end. The
    // sender may state any size. Node requires a limit of at least 1.
    const stated = encoding === 'gzip' && message.length > 18 ? message.readUInt32LE(message.length - 4) + 1 : 0;
    const chunkSize = Math.max(Math.min(stated, bytes + 1, MAX_TRUSTED_RATIO * message.length), MIN_PIECE_BYTES);
    const limit = maxBytes === Infinity ? {} : { maxOutputLength: Math.max(maxBytes, 1) };
    const result = await INFLATERS[encoding](message, { chunkSize, ...limit });
    // A small part of a piece would keep all of it, uncounted.
    return result.buffer.byteLength > 2 * result.length ? Buffer.from(result) : result;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too-large' : 'unreadable';
  } finally {
    running -= 1;
    runningBytes -= bytes;
    startNext();
  }
}

function startNext(): void {
  for (const [key, next] of waiting) {
    const fits = running < MAX_AT_ONCE && runningBytes + next.bytes <= MAX_BYTES_AT_ONCE;
    if (running > 0 && !fits) return;
    waiting.delete(key);
    running += 1;
    runningBytes += next.bytes;
    next.start();
  }
}
