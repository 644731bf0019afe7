import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

// Width of a name in a line, in characters. Lines of fixed width are overwritten in place, so that the file stays small. A count is written
// before the request is handled, so that a SIGKILL loses no count.
const NAME_WIDTH = 32;
const COUNT_WIDTH = 16;
const LINE_WIDTH = NAME_WIDTH + COUNT_WIDTH + 1;

/** Counts by name, such as requests per contender, in a file that outlives the process. */
export class DurableCounts {
  private readonly file: number;
  private readonly counts: Map<string, number>;
  private readonly lines: string[];

  constructor(path: string) {
    closeSync(openSync(path, 'a'));
    this.counts = readDurableCounts(path);
    this.lines = [...this.counts.keys()];
    this.file = openSync(path, 'r+');
  }

  /** Adds 1 to the count of `counted`. */
  add(counted: string): void {
    const name = counted.slice(0, NAME_WIDTH);
    const count = (this.counts.get(name) ?? 0) + 1;
    if (count === 1) this.lines.push(name);
    this.counts.set(name, count);
    const line = `${name.padEnd(NAME_WIDTH)}${String(count).padStart(COUNT_WIDTH)}\n`;
    writeSync(this.file, line, this.lines.indexOf(name) * LINE_WIDTH);
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Reads the counts from the file at `path`. Any process can call this at any time. */
export function readDurableCounts(path: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line.length === LINE_WIDTH - 1) counts.set(line.slice(0, NAME_WIDTH).trim(), Number(line.slice(NAME_WIDTH)));
  }
  return counts;
}
