import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { LoggedOrder } from '../upstream/order-log.js';

const CHUNK_BYTES = 64 * 1024;

/** Reads the upstream's log, and what is appended to it; it needs no upstream to be alive for that. */
export class LogFollower {
  readonly #file: number;
  readonly #chunk = Buffer.alloc(CHUNK_BYTES);
  #position: number;
  #partOfLine = '';

  private constructor(path: string, from: 'start' | 'end') {
    this.#file = openSync(path, 'r');
    this.#position = from === 'start' ? 0 : fstatSync(this.#file).size;
  }

  /** Reads all that there is, and what comes. */
  static fromStart(path: string): LogFollower {
    return new LogFollower(path, 'start');
  }

  /** Reads what is appended from now on. */
  static fromNow(path: string): LogFollower {
    return new LogFollower(path, 'end');
  }

  /** The orders that were not read yet. */
  *read(): Generator<LoggedOrder> {
    for (;;) {
      const bytes = readSync(this.#file, this.#chunk, 0, CHUNK_BYTES, this.#position);
      if (bytes === 0) return;
      this.#position += bytes;
      const lines = (this.#partOfLine + this.#chunk.toString('latin1', 0, bytes)).split('\n');
      this.#partOfLine = lines.pop() ?? '';
      // True: the upstream writes one order a line, in ASCII.
      for (const line of lines) yield JSON.parse(line) as LoggedOrder;
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}
