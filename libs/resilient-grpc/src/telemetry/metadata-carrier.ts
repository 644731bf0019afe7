import type { Metadata } from '@grpc/grpc-js';
import type { TextMapGetter, TextMapSetter } from '@opentelemetry/api';

/** Metadata as propagators read it. What is binary ('grpc-trace-bin') is base64, as gRFC A72 has it. */
export const METADATA_GETTER: TextMapGetter<Metadata> = {
  keys: (metadata) => Object.keys(metadata.getMap()),
  get: (metadata, key) => {
    const values = metadata.get(key).map((value) => (typeof value === 'string' ? value : value.toString('base64')));
    return values.length > 1 ? values : values[0];
  },
};

/** The same to be written. What gRPC does not allow as a value is left out: it must not fail a call. */
export const METADATA_SETTER: TextMapSetter<Metadata> = {
  set: (metadata, key, value) => {
    try {
      metadata.set(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
    } catch {
      // A propagator of somebody's own, or baggage that is no ASCII.
    }
  },
};
