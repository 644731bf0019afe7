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

/** Fields of which the first value counts, as in `node:http2`. Others are joined. */
const SINGLE_FIELDS: ReadonlySet<string> = new Set(
  `
    access-control-allow-credentials access-control-max-age access-control-request-method age authorization
    content-encoding content-language content-length content-location content-md5 content-range content-type date dnt
    etag expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location
    max-forwards proxy-authorization range referer retry-after tk upgrade-insecure-requests user-agent
    x-content-type-options
  `
    .trim()
    .split(/\s+/),
);

/**
 * Returns names and values of `metadata`, in turn.
 *
 * @throws TypeError if HTTP/2 does not allow them
 */
export function fieldsOf(metadata: Metadata): string[] {
  const headers = metadata.toHttp2Headers();
  const fields: string[] = [];
  for (const name in headers) {
    if (OWN_FIELDS.has(name)) continue;
    const value = headers[name];
    if (CONNECTION_FIELDS.has(name)) throw new TypeError(`HTTP/1 Connection specific headers are forbidden: "${name}"`);
    if (!Array.isArray(value)) fields.push(name, String(value));
    else if (name === 'authorization') throw new TypeError(`Header field "${name}" must only have a single value`);
    else for (const one of value) fields.push(name, one);
  }
  return fields;
}

/**
 * Returns the metadata of a header block, except the fields in `omitted`. Repeated fields are joined, as in `node:http2`; grpc-js drops what
 * metadata cannot contain.
 */
export function metadataOf({ fields }: HeaderBlock, omitted?: ReadonlySet<string>): Metadata {
  const headers = Object.create(null) as Record<string, string | string[]>;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    if (omitted?.has(name) === true) continue;
    const earlier = headers[name];
    if (name === 'set-cookie') headers[name] = Array.isArray(earlier) ? [...earlier, value] : [value];
    else if (earlier === undefined) headers[name] = value;
    else if (!SINGLE_FIELDS.has(name)) headers[name] = `${String(earlier)}${name === 'cookie' ? ';' : ','} ${value}`;
  }
  return Metadata.fromHttp2Headers(headers);
}
