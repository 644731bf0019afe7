import type { Metadata } from '@grpc/grpc-js';
import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { metadataEntryProblem } from '../../channel/attempt/metadata-input.js';
import type { MetadataInput } from '../resilient-types.js';
import type { OutgoingCall } from './outgoing-call.js';

/** Asked for metadata once per attempt, so that a token can be a fresh one. */
export type MetadataFunction = (call: OutgoingCall) => MetadataInput | Promise<MetadataInput>;

/** What a client sends with every attempt, where a function decides it. */
export type MetadataSource = (call: OutgoingCall) => Metadata | Promise<Metadata>;

/** `base` (of the defaults) and `over` (of the client), at least one of them a function, as one; `over` wins key by key. */
export function metadataSource(
  base: MetadataInput | MetadataFunction | undefined,
  over: MetadataInput | MetadataFunction | undefined,
): MetadataSource {
  return (call) => {
    const below = given(base, call);
    // Should the second throw at once, nobody is left to hear how the first one fails.
    if (below instanceof Promise) below.catch(() => undefined);
    const above = given(over, call);
    if (below instanceof Promise || above instanceof Promise) {
      return Promise.all([below, above]).then(([one, two]) => joined(one, two));
    }
    return joined(below, above);
  };
}

function given(
  value: MetadataInput | MetadataFunction | undefined,
  call: OutgoingCall,
): MetadataInput | undefined | Promise<MetadataInput> {
  return typeof value === 'function' ? value(call) : value;
}

function joined(base: unknown, over: unknown): Metadata {
  return joinMetadata(joinMetadata(NO_METADATA, checked(base)), checked(over));
}

/** grpc-js's own error would have the value in it, which may be a secret. */
function checked(value: unknown): MetadataInput | undefined {
  if (value === undefined || isMetadataLike(value)) return value;
  if (typeof value !== 'object' || value === null) {
    throw new Error("a function for metadata must give an object of texts, as { 'x-tenant': 'shop' }");
  }
  for (const [key, one] of Object.entries(value)) {
    const problem = one === undefined ? undefined : metadataEntryProblem(key, one);
    if (problem !== undefined) throw new Error(`a function for metadata gave '${key}': ${problem}`);
  }
  // True: each of its entries was looked at.
  return value as MetadataInput;
}
