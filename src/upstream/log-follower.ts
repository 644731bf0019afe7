import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import type { CreateOrderRequest } from '../gen/orders.pb.js';

const CHUNK_BYTES = 64 * 1024;

/** A line of the log. What it has no need to say is its place: that is the order's sequence. */
export interface LogLine extends CreateOrderRequest {
  /** When it was appended, by `epochMs`. */
  readonly atMs: number;
  /** Known to who appended it. */
  readonly key: string;
}

/** Reads the upstream's log, and what is appended to it; it needs no upstream to be alive for that. */
export class LogFollower {
  private readonly file: number;
  private readonly chunk = Buffer.alloc(CHUNK_BYTES);
  private readonly decoder = new StringDecoder('utf8');
  private position: number;
  private partOfLine = '';

  private constructor(path: string, from: 'start' | 'end') {
    this.file = openSync(path, 'r');
    this.position = from === 'start' ? 0 : fstatSync(this.file).size;
  }

  /** Reads all that there is, and what comes. */
  static fromStart(path: string): LogFollower {
    return new LogFollower(path, 'start');
  }

  /** Reads what is appended from now on. */
  static fromNow(path: string): LogFollower {
    return new LogFollower(path, 'end');
  }

  /** The lines that were not read yet. */
  *read(): Generator<LogLine> {
    for (;;) {
      const bytes = readSync(this.file, this.chunk, 0, CHUNK_BYTES, this.position);
      if (bytes === 0) return;
      this.position += bytes;
      const lines = (this.partOfLine + this.decoder.write(this.chunk.subarray(0, bytes))).split('\n');
      this.partOfLine = lines.pop() ?? '';
      for (const line of lines) {
        const parsed = parseLine(line);
        if (parsed) yield parsed;
      }
    }
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Undefined: a kill has torn it, so that nobody was told of it. A part of an object is no JSON, wherever it was torn. */
function parseLine(line: string): LogLine | undefined {
  try {
    // True: `OrderLog` wrote it.
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}
