import { promisify } from 'node:util';
import { gunzip, inflate as inflateZlib } from 'node:zlib';

const INFLATERS = { deflate: promisify(inflateZlib), gzip: promisify(gunzip) };

/** Message encoding that `inflate()` supports. */
export type Encoding = keyof typeof INFLATERS;

/** Number of messages of the process that are inflated at once: as many as Node has threads for it. The result of each one is not counted yet. */
const MAX_AT_ONCE = 4;
let running = 0;
const waiting = new Set<() => void>();

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
  if (running < MAX_AT_ONCE) running += 1;
  else await new Promise<void>((resolve) => waiting.add(resolve));
  try {
    // Node requires a limit of at least 1.
    return await INFLATERS[encoding](message, maxBytes === Infinity ? {} : { maxOutputLength: Math.max(maxBytes, 1) });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too-large' : 'unreadable';
  } finally {
    const [next] = waiting;
    if (next === undefined) running -= 1;
    else {
      waiting.delete(next);
      next();
    }
  }
}
