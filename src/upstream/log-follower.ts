import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import type { CreateOrderRequest } from '../gen/orders.pb.js';

const CHUNK_BYTES = 64 * 1024;

/** A valid line of the log. Its position among the valid lines is the order's sequence. */
export interface LogLine extends CreateOrderRequest {
  /** Append time in milliseconds since 1970. */
  readonly atMs: number;
  /** Unique key, by which the writer recognizes its line. */
  readonly key: string;
}

/** Reads the upstream's log and the lines appended to it. The upstream need not be running. */
export class LogFollower {
  private readonly file: number;
  private readonly chunk = Buffer.alloc(CHUNK_BYTES);
  private readonly decoder = new StringDecoder('utf8');
  private position: number;
  private partOfLine = '';

  /** @param from 'end' to read only lines that are appended from now on; 'start' to read the existing lines, too */
  constructor(path: string, from: 'start' | 'end' = 'start') {
    this.file = openSync(path, 'r');
    this.position = from === 'start' ? 0 : fstatSync(this.file).size;
  }

  /** Returns the lines that have not been read yet. */
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

/**
 * Parses a line. Returns `undefined` for an incomplete line of a killed process, because part of an object is never valid JSON.
 * Such a line was not acknowledged.
 */
function parseLine(line: string): LogLine | undefined {
  try {
    // Safe cast: `OrderLog` wrote the line.
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}
