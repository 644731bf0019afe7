import { constants } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';

/**
 * Trailers that are not sent. Node throws an uncatchable error for connection-specific HTTP/1 fields: the call hangs or the process
 * ends. A content-length makes callers reject the response. grpc-status and grpc-message would override the status.
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

/** Standard HTTP fields. For some of them, Node throws the same error if they occur twice. */
const HTTP_FIELDS: ReadonlySet<unknown> = new Set(
  Object.entries(constants).flatMap(([name, value]) => (name.startsWith('HTTP2_HEADER_') ? [value] : [])),
);
/** The only standard field whose values cannot be joined. */
const SET_COOKIE = 'set-cookie';

/** Trailers that can be sent. */
export interface SendableTrailers {
  readonly metadata: Metadata;
  /** Present if some trailers were omitted. */
  readonly unexpected?: true;
}

/** Returns `given`, or a copy without fields that cannot be sent; repeated standard fields are joined to a comma-separated list. */
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
