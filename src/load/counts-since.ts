import { readDurableCounts } from '../upstream/durable-counts.js';

/** The sums of all upstreams' counts since the creation of this object. */
export class CountsSince {
  private readonly paths: readonly string[];
  private readonly before: (name: string) => number;

  constructor(paths: readonly string[]) {
    this.paths = paths;
    this.before = sumOf(paths);
  }

  /** Returns the counts since the creation of this object, by name. */
  read(): (name: string) => number {
    const now = sumOf(this.paths);
    return (name) => now(name) - this.before(name);
  }
}

function sumOf(paths: readonly string[]): (name: string) => number {
  const counts = paths.map(readDurableCounts);
  return (name) => counts.reduce((sum, each) => sum + (each.get(name) ?? 0), 0);
}
