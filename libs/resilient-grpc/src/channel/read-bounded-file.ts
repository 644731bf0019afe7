import { closeSync, createReadStream, openSync, readSync } from 'node:fs';

/** Maximum size in bytes of a file that an option names. */
const MAX_FILE_BYTES = 2 ** 20;

/**
 * Reads a file or a pipe. The size is bounded, because a device such as /dev/zero has no end.
 *
 * @throws Error with code 'EFBIG' if the file has more than `MAX_FILE_BYTES` bytes
 */
export function readBoundedFile(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const chunks: Buffer[] = [];
    for (let total = 0; ;) {
      const chunk = Buffer.allocUnsafe(65_536);
      const count = readSync(file, chunk, 0, chunk.length, null);
      if (count === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, count));
      total += count;
      if (total > MAX_FILE_BYTES) throw tooLarge(path);
    }
  } finally {
    closeSync(file);
  }
}

/** Like `readBoundedFile`, but does not block the process. Used to read a file again while calls run. */
export async function reloadBoundedFile(path: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of createReadStream(path)) {
    // Safe: a stream without an encoding emits buffers.
    chunks.push(chunk as Buffer);
    total += (chunk as Buffer).length;
    if (total > MAX_FILE_BYTES) throw tooLarge(path);
  }
  return Buffer.concat(chunks);
}

function tooLarge(path: string): Error {
  return Object.assign(new Error(`${path} has more than ${String(MAX_FILE_BYTES)} bytes`), { code: 'EFBIG' });
}
