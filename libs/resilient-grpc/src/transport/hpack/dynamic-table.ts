import type { Field } from './static-table.js';

/** Bytes that each entry of a table costs in addition to its name and value (RFC 7541, section 4.1). */
export const ENTRY_OVERHEAD = 32;

const MIN_CAPACITY = 16;

/** The dynamic table of a decoder (RFC 7541, section 2.3.2): a ring, whose newest entry has the index 1. */
export class DynamicTable {
  private fields: (Field | undefined)[] = [];
  /** Place of the next entry. */
  private next = 0;
  private count = 0;
  private size = 0;

  /** @param maxSize maximum of the sizes of the entries, in bytes */
  constructor(private maxSize: number) {}

  /** Returns the entry at `index`, 1 or more; `undefined` if there is none. */
  get(index: number): Field | undefined {
    if (index > this.count) return undefined;
    const { length } = this.fields;
    return this.fields[(this.next - index + length) % length];
  }

  /** Inserts `field` and evicts the oldest entries. A field larger than the table empties it. */
  insert(field: Field): void {
    const size = sizeOf(field);
    this.evictTo(this.maxSize - size);
    if (size > this.maxSize) return;
    if (this.count === this.fields.length) this.grow();
    this.fields[this.next] = field;
    this.next = (this.next + 1) % this.fields.length;
    this.count += 1;
    this.size += size;
  }

  resize(maxSize: number): void {
    this.maxSize = maxSize;
    this.evictTo(maxSize);
  }

  private evictTo(size: number): void {
    while (this.size > size && this.count > 0) {
      const { length } = this.fields;
      const oldest = (this.next - this.count + length) % length;
      this.size -= sizeOf(this.fields[oldest]!);
      this.fields[oldest] = undefined;
      this.count -= 1;
    }
  }

  private grow(): void {
    const ordered = Array.from({ length: this.count }, (_, at) => this.get(this.count - at));
    this.fields = [...ordered, ...Array<undefined>(Math.max(MIN_CAPACITY, this.count)).fill(undefined)];
    this.next = this.count;
  }
}

function sizeOf({ name, value }: Field): number {
  return name.length + value.length + ENTRY_OVERHEAD;
}
