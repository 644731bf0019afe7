import { Metadata } from '@grpc/grpc-js';
import { toMetadata } from './metadata-input.js';

/** Empty metadata, for calls that have none. Can be shared, because grpc-js copies metadata before changing it. */
export const NO_METADATA = new Metadata();

/** True if `value` is a `Metadata` object from any copy of grpc-js. */
export function isMetadataLike(value: unknown): value is Metadata {
  if (value instanceof Metadata) return true;
  return typeof value === 'object' && value !== null && 'getMap' in value && typeof value.getMap === 'function';
}

/** Returns `base` with the keys of `given` added or replaced. Changes neither. */
export function joinMetadata(base: Metadata, given: Parameters<typeof toMetadata>[0] | undefined): Metadata {
  if (given === undefined) return base;
  const joined = base.clone();
  const added = isMetadataLike(given) ? given : toMetadata(given);
  // Values are replaced, because a second value of `authorization` would be an error.
  for (const key of Object.keys(added.getMap())) joined.remove(key);
  joined.merge(added);
  // Sets the options separately, because merge() does not copy options such as waitForReady.
  joined.setOptions({ ...base.getOptions(), ...added.getOptions() });
  return joined;
}

/** Returns the metadata of attempt number `attempt`. From the second attempt on, it includes the number of previous attempts (gRFC A6). */
export function attemptMetadata(metadata: Metadata, attempt: number): Metadata {
  if (attempt === 1) return metadata;
  const copy = metadata.clone();
  copy.set('grpc-previous-rpc-attempts', String(attempt - 1));
  return copy;
}
