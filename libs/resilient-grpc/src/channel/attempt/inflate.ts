import { promisify } from 'node:util';
import { gunzip, inflate as inflateZlib } from 'node:zlib';
import { StatusCode } from '../../status/status-code.js';

const INFLATERS = { deflate: promisify(inflateZlib), gzip: promisify(gunzip) };

/** Message encoding that `inflate()` supports. */
export type Encoding = keyof typeof INFLATERS;

/** Status of a call with a message that cannot be inflated. */
export interface InflateFailure {
  readonly code: StatusCode;
  readonly details: string;
}

/** True if messages with `encoding` can be inflated. */
export function isInflatable(encoding: string): encoding is Encoding {
  return Object.hasOwn(INFLATERS, encoding);
}

/**
 * Inflates `message`. Stops as soon as the result exceeds `maxBytes` (-1 for no limit), because a few megabytes can inflate to gigabytes.
 */
export async function inflate(encoding: Encoding, message: Buffer, maxBytes: number): Promise<Buffer | InflateFailure> {
  try {
    // Node requires a limit of at least 1. If `maxBytes` is 0, grpc-js has already rejected the compressed message.
    return await INFLATERS[encoding](message, maxBytes === -1 ? {} : { maxOutputLength: Math.max(maxBytes, 1) });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
      ? {
          code: StatusCode.RESOURCE_EXHAUSTED,
          details: `Received message that decompresses to a size larger than ${String(maxBytes)}`,
        }
      : { code: StatusCode.INTERNAL, details: `Failed to decompress ${encoding}-encoded message` };
  }
}
