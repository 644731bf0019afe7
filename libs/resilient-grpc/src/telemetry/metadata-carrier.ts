import type { Metadata } from '@grpc/grpc-js';
import type { TextMapGetter } from '@opentelemetry/api';

/** Metadata as propagators read it. What is binary ('grpc-trace-bin') is base64, as gRFC A72 has it. */
export const METADATA_GETTER: TextMapGetter<Metadata> = {
  keys: (metadata) => Object.keys(metadata.getMap()),
  get: (metadata, key) => {
    const values = metadata.get(key).map((value) => (typeof value === 'string' ? value : value.toString('base64')));
    return values.length > 1 ? values : values[0];
  },
};
