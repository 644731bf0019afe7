import type { Metadata } from '@grpc/grpc-js';
import type { TextMapGetter, TextMapSetter } from '@opentelemetry/api';

/** Reads metadata for propagators. Binary values such as 'grpc-trace-bin' are returned as base64, as gRFC A72 specifies. */
export const METADATA_GETTER: TextMapGetter<Metadata> = {
  keys: (metadata) => Object.keys(metadata.getMap()),
  get: (metadata, key) => {
    const values = metadata.get(key).map((value) => (typeof value === 'string' ? value : value.toString('base64')));
    return values.length > 1 ? values : values[0];
  },
};

/** Writes metadata for propagators. Values that gRPC does not allow are skipped, because tracing must not fail a call. */
export const METADATA_SETTER: TextMapSetter<Metadata> = {
  set: (metadata, key, value) => {
    try {
      metadata.set(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
    } catch {
      // Caused by a custom propagator or by non-ASCII baggage.
    }
  },
};
