import type { GrpcClientSnapshot } from '../client/client-snapshot.js';

/** Fields of a client's sample: time in milliseconds since 1970, cumulative counts, and the number of waiting calls. */
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
export type ClientSample = readonly number[];

const WIDTH = SAMPLE_FIELDS.length;

export function sampleOf({ counters, waiting }: GrpcClientSnapshot, at: number): ClientSample {
  const { started, succeeded, failed, cancelled, attempts, retried, hedged } = counters;
  return [at, started, succeeded, failed, cancelled, attempts, retried, hedged, waiting];
}

/** Latest samples of a client, in a buffer of fixed size: 72 bytes each. */
export class SampleRing {
  private readonly values: Float64Array;
  private taken = 0;

  constructor(private readonly capacity: number) {
    this.values = new Float64Array(capacity * WIDTH);
  }

  push(sample: ClientSample): void {
    this.values.set(sample, (this.taken % this.capacity) * WIDTH);
    this.taken += 1;
  }

  /** Returns the last `count` samples, or all there are, oldest first. */
  latest(count = this.capacity): readonly ClientSample[] {
    const length = Math.min(count, this.taken, this.capacity);
    return Array.from({ length }, (_none, index) => {
      const at = ((this.taken - length + index) % this.capacity) * WIDTH;
      return Array.from(this.values.subarray(at, at + WIDTH));
    });
  }
}
