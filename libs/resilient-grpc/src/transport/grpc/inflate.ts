import { promisify } from 'node:util';
import { gunzip, inflate as inflateZlib } from 'node:zlib';

const INFLATERS = { deflate: promisify(inflateZlib), gzip: promisify(gunzip) };

/** Message encoding that `inflate()` supports. */
export type Encoding = keyof typeof INFLATERS;

export function isInflatable(encoding: string): encoding is Encoding {
  return Object.hasOwn(INFLATERS, encoding);
}

/**
 * Inflates `message`. Stops as soon as the result exceeds `maxBytes`, because a few megabytes can inflate to gigabytes.
 *
 * @param maxBytes `Infinity` for no limit
 */
export async function inflate(
  encoding: Encoding,
  message: Buffer,
  maxBytes: number,
): Promise<Buffer | 'too-large' | 'unreadable'> {
  try {
    // Node requires a limit of at least 1.
    return await INFLATERS[encoding](message, maxBytes === Infinity ? {} : { maxOutputLength: Math.max(maxBytes, 1) });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too-large' : 'unreadable';
  }
}
