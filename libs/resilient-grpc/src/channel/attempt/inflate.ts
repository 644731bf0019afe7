import { createGunzip, createInflate } from 'node:zlib';
import { StatusCode } from '../../status/status-code.js';

const INFLATERS = { deflate: createInflate, gzip: createGunzip };

/** Encoding of messages that can be inflated. */
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
 * Inflates `message`. Stops as soon as the result exceeds `maxBytes` (-1 for no limit), because a few kilobytes can inflate to gigabytes.
 */
export function inflate(encoding: Encoding, message: Buffer, maxBytes: number): Promise<Buffer | InflateFailure> {
  return new Promise((resolve) => {
    const inflater = INFLATERS[encoding]();
    const parts: Buffer[] = [];
    let bytes = 0;
    inflater.on('error', () => {
      resolve({ code: StatusCode.INTERNAL, details: `Failed to decompress ${encoding}-encoded message` });
    });
    inflater.on('data', (part: Buffer) => {
      parts.push(part);
      bytes += part.length;
      if (maxBytes === -1 || bytes <= maxBytes) return;
      inflater.destroy();
      const details = `Received message that decompresses to a size larger than ${String(maxBytes)}`;
      resolve({ code: StatusCode.RESOURCE_EXHAUSTED, details });
    });
    inflater.on('end', () => {
      resolve(Buffer.concat(parts, bytes));
    });
    inflater.end(message);
  });
}
