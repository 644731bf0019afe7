import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { metadataSource } from '../interceptors/metadata-source.js';
import type { GrpcClientDefaults, GrpcClientSettings } from './client-options.js';
import { namedOptions } from './resolve-channel-settings.js';

/** A client's settings over the defaults of all, key by key; an undefined key says nothing. */
export function joinSettings(defaults: GrpcClientDefaults | undefined, own: GrpcClientSettings): GrpcClientSettings {
  if (defaults === undefined) return own;
  const base: Record<string, unknown> = { ...defaults };
  // Who chooses its own way to be secure does not mix it with the other of the defaults.
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

/** What is no list is told elsewhere. */
function listOf<T>(value: readonly T[] | undefined): readonly T[] {
  // True: the elements of an array of them.
  return Array.isArray(value) ? (value as readonly T[]) : [];
}

/** `options` of the defaults without those that the client sets by an option of its own. */
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
  // True: what is left is a part of it.
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Partial<T>;
}
