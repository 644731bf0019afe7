import type { Metadata } from '@grpc/grpc-js';
import { fieldsOf } from '../../libs/resilient-grpc/src/channel/subchannel/header-fields.js';
import type { HeaderBlock } from '../../libs/resilient-grpc/src/transport/hpack/header-block.js';
import { HpackDecoder } from '../../libs/resilient-grpc/src/transport/hpack/hpack-decoder.js';
import { encodedBound, encodeFields } from '../../libs/resilient-grpc/src/transport/hpack/hpack-encoder.js';

/** Returns the decoded block of these names and values, in turn. */
export function blockOf(fields: readonly string[]): HeaderBlock {
  const bytes = Buffer.alloc(encodedBound(fields));
  return new HpackDecoder(0, Infinity).decode(bytes, 0, encodeFields(bytes, 0, fields));
}

/** Returns the decoded block of the fields that HTTP/2 sends for `metadata`, and of its content type, which the transport sends itself. */
export function blockOfMetadata(metadata: Metadata): HeaderBlock {
  const [contentType] = metadata.get('content-type');
  return blockOf([...fieldsOf(metadata), ...(contentType === undefined ? [] : ['content-type', String(contentType)])]);
}
