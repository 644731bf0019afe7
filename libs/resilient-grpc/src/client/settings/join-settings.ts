import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { metadataSource } from '../interceptors/metadata-source.js';
import type { GrpcClientDefaults, GrpcClientSettings } from './client-options.js';
import { namedOptions } from './resolve-channel-settings.js';

/** Merges a client's settings over the defaults, key by key. A key that is `undefined` does not override a default. */
export function joinSettings(defaults: GrpcClientDefaults | undefined, own: GrpcClientSettings): GrpcClientSettings {
  if (defaults === undefined) return own;
  const base: Record<string, unknown> = { ...defaults };
  // A client's `tls` or `credentials` replaces both of the defaults.
  if (own.tls !== undefined || own.credentials !== undefined) {
    delete base['tls'];
    delete base['credentials'];
  }
  return {
    ...base,
    ...definedOf(own),
    ...definedOf({
      keepalive: joined(defaults.keepalive, own.keepalive),
      channelOptions: joined(withoutNamed(defaults.channelOptions, own), own.channelOptions),
      metadata: joinedMetadata(defaults.metadata, own.metadata),
      interceptors: [...listOf(defaults.interceptors), ...listOf(own.interceptors)],
      propagate: own.propagate === false ? own.propagate : joined(defaults.propagate || undefined, own.propagate),
    }),
    url: own.url,
  };
}

/** Returns an empty list for a value that is not an array; validation reports it. */
function listOf<T>(value: readonly T[] | undefined): readonly T[] {
  // Array.isArray() does not narrow a readonly array.
  return Array.isArray(value) ? (value as readonly T[]) : [];
}

/** Returns the defaults' `options` without those that the client sets by a named option. */
function withoutNamed(
  options: GrpcClientDefaults['channelOptions'],
  own: GrpcClientSettings,
): GrpcClientDefaults['channelOptions'] {
  if (options === undefined) return undefined;
  const named = namedOptions(own);
  return Object.fromEntries(Object.entries(options).filter(([key]) => !Object.hasOwn(named, key)));
}

function joined<T extends object>(base: T | undefined, over: T | undefined): T | undefined {
  return base === undefined || over === undefined ? (over ?? base) : { ...base, ...definedOf(over) };
}

type GivenMetadata = GrpcClientDefaults['metadata'];

function joinedMetadata(base: GivenMetadata, over: GivenMetadata): GivenMetadata {
  if (base === undefined || over === undefined) return over ?? base;
  if (typeof base === 'function' || typeof over === 'function') return metadataSource(base, over);
  if (!isMetadataLike(base) && !isMetadataLike(over)) return joined(base, over);
  return joinMetadata(joinMetadata(NO_METADATA, base), over);
}

function definedOf<T extends object>(value: T): Partial<T> {
  // The remaining entries are a subset of T.
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Partial<T>;
}
