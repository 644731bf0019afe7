import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { Order } from '../gen/orders.pb.js';

const CHUNK_BYTES = 64 * 1024;

/** Reads what is appended to the upstream's log from now on; it needs no upstream to be alive for that. */
export class LogFollower {
  readonly #file: number;
  readonly #chunk = Buffer.alloc(CHUNK_BYTES);
  #position: number;
  #partOfLine = '';

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    this.#position = fstatSync(this.#file).size;
  }

  /** The orders appended since the last call, or since the follower was made. */
  *read(): Generator<Order> {
    for (;;) {
      const bytes = readSync(this.#file, this.#chunk, 0, CHUNK_BYTES, this.#position);
      if (bytes === 0) return;
      this.#position += bytes;
      const lines = (this.#partOfLine + this.#chunk.toString('latin1', 0, bytes)).split('\n');
      this.#partOfLine = lines.pop() ?? '';
      // True: the upstream writes one order a line, in ASCII.
      for (const line of lines) yield JSON.parse(line) as Order;
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}
