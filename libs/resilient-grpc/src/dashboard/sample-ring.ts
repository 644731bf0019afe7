import type { GrpcClientSnapshot } from '../client/client-snapshot.js';

/** What a sample of a client is, value by value: its moment in milliseconds since 1970, counts so far, and who waits. */
export const SAMPLE_FIELDS = [
  'at',
  'started',
  'succeeded',
  'failed',
  'cancelled',
  'attempts',
  'retried',
  'hedged',
  'waiting',
] as const;

/** Values in the order of {@link SAMPLE_FIELDS}. */
export type Sample = readonly number[];

const WIDTH = SAMPLE_FIELDS.length;

export function sampleOf({ counters, waiting }: GrpcClientSnapshot, at: number): Sample {
  const { started, succeeded, failed, cancelled, attempts, retried, hedged } = counters;
  return [at, started, succeeded, failed, cancelled, attempts, retried, hedged, waiting];
}

/** The last samples of a client, in memory that does not grow: 72 bytes each. */
export class SampleRing {
  private readonly values: Float64Array;
  private taken = 0;

  constructor(private readonly capacity: number) {
    this.values = new Float64Array(capacity * WIDTH);
  }

  push(sample: Sample): void {
    this.values.set(sample, (this.taken % this.capacity) * WIDTH);
    this.taken += 1;
  }

  /** The last `count`, or all there are, oldest first. */
  latest(count = this.capacity): readonly Sample[] {
    const length = Math.min(count, this.taken, this.capacity);
    return Array.from({ length }, (_none, index) => {
      const at = ((this.taken - length + index) % this.capacity) * WIDTH;
      return Array.from(this.values.subarray(at, at + WIDTH));
    });
  }
}
