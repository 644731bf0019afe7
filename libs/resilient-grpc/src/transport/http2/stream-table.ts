import { systemRandom } from '../../time/random.js';

const MIN_CAPACITY = 64;

/**
 * The open streams of a connection by id, with open addressing. It is no `Map`: when a Map whose keys come and go is rehashed, its old table
 * refers to the new one, so that after a full garbage collection every later entry survives all minor collections.
 */
export class StreamTable<S extends { readonly id: number }> {
  size = 0;
  private mask = MIN_CAPACITY - 1;
  private streams: (S | undefined)[] = emptyTable(MIN_CAPACITY);

  get(id: number): S | undefined {
    const { streams, mask } = this;
    for (let at = placeOf(id, mask); ; at = (at + 1) & mask) {
      const found = streams[at];
      if (found === undefined || found.id === id) return found;
    }
  }

  add(stream: S): void {
    if ((this.size + 1) * 2 > this.streams.length) this.resize(this.streams.length * 2);
    const { streams, mask } = this;
    let at = placeOf(stream.id, mask);
    while (streams[at] !== undefined) at = (at + 1) & mask;
    streams[at] = stream;
    this.size += 1;
  }

  /** Returns false if the stream is not in the table. */
  delete(id: number): boolean {
    const { streams, mask } = this;
    let at = placeOf(id, mask);
    for (; streams[at]?.id !== id; at = (at + 1) & mask) if (streams[at] === undefined) return false;
    this.size -= 1;
    // Moves later entries back, so that no search stops early.
    for (let next = (at + 1) & mask; ; next = (next + 1) & mask) {
      const stream = streams[next];
      if (stream === undefined) break;
      if (((next - placeOf(stream.id, mask)) & mask) < ((next - at) & mask)) continue;
      streams[at] = stream;
      at = next;
    }
    streams[at] = undefined;
    // So that to visit all costs what is open, and not what once was.
    if (this.size * 8 < streams.length && streams.length > MIN_CAPACITY) this.resize(streams.length / 2);
    return true;
  }

  /** Returns the streams in the order of their ids. */
  all(): S[] {
    return this.unordered().sort((a, b) => a.id - b.id);
  }

  unordered(): S[] {
    return this.streams.filter((stream) => stream !== undefined);
  }

  private resize(capacity: number): void {
    const all = this.streams;
    this.streams = emptyTable(capacity);
    this.mask = capacity - 1;
    this.size = 0;
    for (const stream of all) if (stream !== undefined) this.add(stream);
  }
}

function emptyTable(capacity: number): undefined[] {
  return Array<undefined>(capacity).fill(undefined);
}

const SEED = systemRandom() * 2 ** 32;

/**
 * Spreads ids, because ids that follow each other would fill one run of places, which each deletion searches to its end. The seed keeps a peer
 * from choosing such ids.
 */
function placeOf(id: number, mask: number): number {
  let hash = Math.imul(id ^ SEED, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) & mask;
}
