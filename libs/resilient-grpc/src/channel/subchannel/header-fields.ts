import { Metadata } from '@grpc/grpc-js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';

/** Fields that the transport sets, whatever the metadata of a call contain. */
const OWN_FIELDS: ReadonlySet<string> = new Set(['content-type', 'te', 'user-agent']);
/** Fields that HTTP/2 does not allow (RFC 9113, section 8.2.2). */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** Returns the code that Node gives to the error for a header that HTTP/2 does not allow. */
function invalid(message: string, code: string): Error {
  return Object.assign(new TypeError(message), { code });
}

/**
 * Returns names and values of `metadata`, in turn.
 *
 * @throws TypeError with Node's `code` if HTTP/2 does not allow them
 */
export function fieldsOf(metadata: Metadata): string[] {
  const headers = metadata.toHttp2Headers();
  const fields: string[] = [];
  for (const name in headers) {
    if (OWN_FIELDS.has(name)) continue;
    const value = headers[name];
    if (CONNECTION_FIELDS.has(name)) {
      throw invalid(
        `HTTP/1 Connection specific headers are forbidden: "${name}"`,
        'ERR_HTTP2_INVALID_CONNECTION_HEADERS',
      );
    }
    if (!Array.isArray(value)) fields.push(name, String(value));
    else if (name === 'authorization')
      throw invalid(`Header field "${name}" must only have a single value`, 'ERR_HTTP2_HEADER_SINGLE_VALUE');
    else for (const one of value) fields.push(name, one);
  }
  return fields;
}

/** Returns the metadata of a response. Repeated fields are joined, as in `node:http2`. */
export function metadataOf({ fields }: HeaderBlock, isStatusRead: boolean): Metadata {
  const metadata = new Metadata();
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    if (isStatusRead && (name === 'grpc-status' || name === 'grpc-message')) continue;
    if (isRepeated(fields, i)) continue;
    const value = joined(fields, i);
    if (!name.endsWith('-bin')) metadata.add(name, value);
    else for (const part of value.split(',')) metadata.add(name, Buffer.from(part.trim(), 'base64'));
  }
  return metadata;
}

/** True if the field at `at` has an earlier value. */
function isRepeated(fields: readonly string[], at: number): boolean {
  for (let i = 0; i < at; i += 2) if (fields[i] === fields[at]) return true;
  return false;
}

/** Returns all values of the field at `at`. */
function joined(fields: readonly string[], at: number): string {
  let value = fields[at + 1] ?? '';
  // HTTP allows one content type, so the first one counts.
  if (fields[at] === 'content-type') return value;
  for (let i = at + 2; i + 1 < fields.length; i += 2) if (fields[i] === fields[at]) value += `, ${fields[i + 1] ?? ''}`;
  return value;
}
