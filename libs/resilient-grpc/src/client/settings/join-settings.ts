import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { metadataSource } from '../interceptors/metadata-source.js';
import type { GrpcClientDefaults, GrpcClientSettings } from './client-options.js';
import { defined } from '../../policy/options/defined.js';
import { namedOptions } from './resolve-channel-settings.js';

/** Merges a client's settings over the defaults, key by key. A key that is `undefined` does not override a default. */
export function joinSettings(defaults: GrpcClientDefaults | undefined, own: GrpcClientSettings): GrpcClientSettings {
  if (defaults === undefined) return own;
  const base: Record<string, unknown> = { ...defaults };
  // If a client sets `tls` or `credentials`, neither option of the defaults applies.
  if (own.tls !== undefined || own.credentials !== undefined) {
    delete base['tls'];
    delete base['credentials'];
  }
  return {
    ...base,
    ...defined(own),
    ...defined({
      keepalive: merged(defaults.keepalive, own.keepalive),
      channelOptions: merged(withoutNamedOptions(defaults.channelOptions, own), own.channelOptions),
      metadata: mergedMetadata(defaults.metadata, own.metadata),
      interceptors: [...listOf(defaults.interceptors), ...listOf(own.interceptors)],
      propagate: own.propagate === false ? own.propagate : merged(defaults.propagate || undefined, own.propagate),
    }),
    url: own.url,
  };
}

/** Returns `value`, or an empty list if it is not an array. Validation reports the wrong type. */
function listOf<T>(value: readonly T[] | undefined): readonly T[] {
  // Array.isArray() does not narrow a readonly array.
  return Array.isArray(value) ? (value as readonly T[]) : [];
}

/** Returns the defaults' `options` without those that the client sets with a named option. */
function withoutNamedOptions(
  options: GrpcClientDefaults['channelOptions'],
  own: GrpcClientSettings,
): GrpcClientDefaults['channelOptions'] {
  if (options === undefined) return undefined;
  const named = namedOptions(own);
  return Object.fromEntries(Object.entries(options).filter(([key]) => !Object.hasOwn(named, key)));
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
