import { Metadata } from '@grpc/grpc-js';
import { fieldsOf } from '../subchannel/header-fields.js';
import { toMetadata } from './metadata-input.js';

/** Fields of requests, without their timeouts, whose metadata are `shared`. */
export const sharedFields = new WeakMap<Metadata, readonly string[]>();

/** Empty metadata, for calls that have none. Can be shared, because grpc-js copies metadata before changing it. */
export const NO_METADATA = shared(new Metadata());

/** Returns `metadata`, which nobody changes from now on, so that its fields are computed once for all calls. */
export function shared(metadata: Metadata): Metadata {
  // Metadata with a timeout or a problem of their own are rare, and are treated as those of one call.
  if (metadata.get('grpc-timeout').length > 0) return metadata;
  try {
    sharedFields.set(metadata, fieldsOf(requestMetadata(metadata)));
  } catch {
    // The calls fail with the problem.
  }
  return metadata;
}

/** Returns a copy of `metadata` with the encodings that every request accepts. */
export function requestMetadata(metadata: Metadata): Metadata {
  const headers = metadata.clone();
  headers.set('grpc-accept-encoding', 'identity,deflate,gzip');
  headers.set('accept-encoding', 'identity');
  headers.remove('grpc-encoding');
  return headers;
}

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
