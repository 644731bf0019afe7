import { Metadata } from '@grpc/grpc-js';
import { toMetadata } from './metadata-input.js';

/** Metadata of a call that has none. Shared: grpc-js copies metadata before it changes them. */
export const NO_METADATA = new Metadata();

/** Whether `value` is Metadata, of this copy of grpc-js or another. */
export function isMetadataLike(value: unknown): value is Metadata {
  if (value instanceof Metadata) return true;
  return typeof value === 'object' && value !== null && 'getMap' in value && typeof value.getMap === 'function';
}

/** `base` with what the call brings in place of the same keys. Both stay as they are. */
export function joinMetadata(base: Metadata, given: Parameters<typeof toMetadata>[0] | undefined): Metadata {
  if (given === undefined) return base;
  const joined = base.clone();
  const added = isMetadataLike(given) ? given : toMetadata(given);
  // A second `authorization` would not be another value but an error.
  for (const key of Object.keys(added.getMap())) joined.remove(key);
  joined.merge(added);
  // merge() leaves waitForReady and its like behind.
  joined.setOptions({ ...base.getOptions(), ...added.getOptions() });
  return joined;
}

/** Metadata of attempt number `attempt`: from the second on the server is told how many there were before (gRFC A6). */
export function attemptMetadata(metadata: Metadata, attempt: number): Metadata {
  if (attempt === 1) return metadata;
  const copy = metadata.clone();
  copy.set('grpc-previous-rpc-attempts', String(attempt - 1));
  return copy;
}
