import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/wire/call-metadata.js';
import { metadataSource } from '../interceptors/call-hooks.js';
import type { GrpcClientDefaults, GrpcClientSettings } from './client-options.js';
import { defined } from '../../policy/options/describe-value.js';

/**
 * Merges a client's settings over the defaults, key by key. A key that is `undefined`, or a message length that is 0, does not override a
 * default.
 */
export function joinSettings(defaults: GrpcClientDefaults | undefined, own: GrpcClientSettings): GrpcClientSettings {
  if (defaults === undefined) return own;
  // If a client sets `tls` or `credentials`, neither option of the defaults applies.
  const isSecurityOwn = own.tls !== undefined || own.credentials !== undefined;
  return {
    ...defaults,
    ...(isSecurityOwn ? { tls: undefined, credentials: undefined } : {}),
    ...defined({
      ...own,
      maxSendMessageLength: own.maxSendMessageLength || undefined,
      maxReceiveMessageLength: own.maxReceiveMessageLength || undefined,
      connections: merged(defaults.connections, own.connections),
      keepalive: merged(defaults.keepalive, own.keepalive),
      channelOptions: merged(defaults.channelOptions, own.channelOptions),
      metadata: mergedMetadata(defaults.metadata, own.metadata),
      interceptors: [...listOf(defaults.interceptors), ...listOf(own.interceptors)],
      propagate: own.propagate === false ? own.propagate : merged(defaults.propagate || undefined, own.propagate),
    }),
    url: own.url,
  };
}

/** Returns `value`, or an empty list if it is not an array. Validation reports the wrong type. */
function listOf<T>(value: readonly T[] | undefined): readonly T[] {
  // The cast is needed, because Array.isArray() does not narrow a readonly array.
  return Array.isArray(value) ? (value as readonly T[]) : [];
}

function merged<T extends object>(base: T | undefined, over: T | undefined): T | undefined {
  return base === undefined || over === undefined ? (over ?? base) : { ...base, ...defined(over) };
}

type GivenMetadata = GrpcClientDefaults['metadata'];

function mergedMetadata(base: GivenMetadata, over: GivenMetadata): GivenMetadata {
  if (base === undefined || over === undefined) return over ?? base;
  if (typeof base === 'function' || typeof over === 'function') return metadataSource(base, over);
  if (!isMetadataLike(base) && !isMetadataLike(over)) return merged(base, over);
  return joinMetadata(joinMetadata(NO_METADATA, base), over);
}
