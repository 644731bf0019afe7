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

export function sampleOf({ counters, waiting }: GrpcClientSnapshot, at: number): ClientSample {
  const { started, succeeded, failed, cancelled, attempts, retried, hedged } = counters;
  return [at, started, succeeded, failed, cancelled, attempts, retried, hedged, waiting];
}
