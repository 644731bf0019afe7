import { readDurableCounts } from '../upstream/durable-counts.js';

/** What the upstream has counted since this was made. */
export class CountsSince {
  readonly #path: string;
  readonly #before: ReadonlyMap<string, number>;

  constructor(path: string) {
    this.#path = path;
    this.#before = readDurableCounts(path);
  }

  /** The counts so far, by name. */
  read(): (name: string) => number {
    const now = readDurableCounts(this.#path);
    return (name) => (now.get(name) ?? 0) - (this.#before.get(name) ?? 0);
  }
}
