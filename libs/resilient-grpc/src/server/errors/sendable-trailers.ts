import { constants } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';

/**
 * Node throws on the fields of an HTTP/1 connection, where nobody can catch it: the call hangs, or the process ends. A content-length
 * makes callers take the answer for broken, and gRPC's own two would be another status than this one.
 */
const REFUSED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'te',
  'content-length',
  'grpc-status',
  'grpc-message',
]);

/** The fields that HTTP knows. Node throws, as above, where one comes twice that it wants once. */
const HTTP_FIELDS: ReadonlySet<unknown> = new Set(
  Object.entries(constants).flatMap(([name, value]) => (name.startsWith('HTTP2_HEADER_') ? [value] : [])),
);
/** The one of them whose values are no list. */
const SET_COOKIE = 'set-cookie';

/** Trailers as they can be sent. */
export interface SendableTrailers {
  readonly metadata: Metadata;
  /** Some were left out. */
  readonly unexpected?: true;
}

/** `given`, or a copy without what cannot be sent; what HTTP knows and came twice has become a list, as HTTP has it. */
export function sendableTrailers(given: Metadata): SendableTrailers {
  const headers = Object.entries(given.toHttp2Headers());
  const refused = headers.filter(([key]) => REFUSED.has(key));
  const repeated = headers.filter(
    ([key, values]) => Array.isArray(values) && HTTP_FIELDS.has(key) && key !== SET_COOKIE && !REFUSED.has(key),
  );
  if (refused.length === 0 && repeated.length === 0) return { metadata: given };
  const metadata = given.clone();
  for (const [key] of refused) metadata.remove(key);
  for (const [key, values] of repeated) metadata.set(key, [values].flat().join(', '));
  return { metadata, ...(refused.length > 0 && { unexpected: true }) };
}
