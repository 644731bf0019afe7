import type { Metadata } from '@grpc/grpc-js';
import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { metadataEntryProblem } from '../../channel/attempt/metadata-input.js';
import { describeSecret } from '../../policy/options/describe-value.js';
import type { MetadataInput } from '../resilient-types.js';
import type { OutgoingCall } from './outgoing-call.js';

/**
 * Returns metadata for a call. Called once per attempt, so that a token is current. If it throws or rejects, the attempt is not sent, and
 * the call fails with `reason: 'not-sent'`. A hedged call continues if other attempts are in flight.
 */
export type MetadataFunction = (call: OutgoingCall) => MetadataInput | Promise<MetadataInput>;

/** Returns the metadata that a client sends with an attempt. Used only if a `metadata` option is a function. */
export type MetadataSource = (call: OutgoingCall) => Metadata | Promise<Metadata>;

/** Merges `base` (from the defaults) and `over` (from the client); at least one is a function. `over` overrides `base` key by key. */
export function metadataSource(
  base: MetadataInput | MetadataFunction | undefined,
  over: MetadataInput | MetadataFunction | undefined,
): MetadataSource {
  return (call) => {
    const below = evaluate(base, call);
    // Without this handler, a rejection of `below` would be unhandled if the second function throws synchronously.
    if (below instanceof Promise) below.catch(() => undefined);
    const above = evaluate(over, call);
    if (below instanceof Promise || above instanceof Promise) {
      return Promise.all([below, above]).then(([one, two]) => join(one, two));
    }
    return join(below, above);
  };
}

function evaluate(
  value: MetadataInput | MetadataFunction | undefined,
  call: OutgoingCall,
): MetadataInput | undefined | Promise<MetadataInput> {
  return typeof value === 'function' ? value(call) : value;
}

function join(base: unknown, over: unknown): Metadata {
  return joinMetadata(joinMetadata(NO_METADATA, validate(base)), validate(over));
}

/** Validates metadata, because grpc-js's own error would contain the value, which may be a secret. */
function validate(value: unknown): MetadataInput | undefined {
  if (value === undefined || isMetadataLike(value)) return value;
  if (typeof value !== 'object' || value === null) {
    throw new Error(
      `expected the metadata function to return an object such as { 'x-tenant': 'shop' }, or grpc-js's Metadata, got ${describeSecret(value)}`,
    );
  }
  for (const [key, one] of Object.entries(value)) {
    const problem = one === undefined ? undefined : metadataEntryProblem(key, one);
    if (problem !== undefined) throw new Error(`the metadata function returned an invalid '${key}': ${problem}`);
  }
  // Each entry was validated above.
  return value as MetadataInput;
}
