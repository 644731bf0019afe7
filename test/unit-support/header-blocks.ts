import type { Metadata } from '@grpc/grpc-js';
import { fieldsOf } from '../../libs/resilient-grpc/src/channel/subchannel/header-fields.js';
import { HeaderBlock } from '../../libs/resilient-grpc/src/transport/hpack/header-block.js';

/** Returns the decoded block of these names and values, in turn. */
export function blockOf(fields: readonly string[]): HeaderBlock {
  const block = new HeaderBlock(Infinity);
  for (let i = 0; i + 1 < fields.length; i += 2)
    block.add({ name: fields[i] ?? '', value: fields[i + 1] ?? '', problem: undefined });
  return block;
}

/** Returns the decoded block of the fields that HTTP/2 sends for `metadata`, and of its content type, which the transport sends itself. */
export function blockOfMetadata(metadata: Metadata): HeaderBlock {
  const [contentType] = metadata.get('content-type');
  return blockOf([...fieldsOf(metadata), ...(contentType === undefined ? [] : ['content-type', String(contentType)])]);
}
