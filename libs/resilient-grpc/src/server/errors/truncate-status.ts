import { constants } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import type { StatusCode } from '../../status/status-code.js';

/**
 * Maximum length of joined messages in characters. It is low because, in most gRPC implementations, the message and all other trailers
 * share a limit of 8 KiB.
 */
const MAX_DETAILS_LENGTH = 512;

/** Replaces lone surrogates, which would make grpc-js throw while it writes the status. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/** Joins messages and truncates the result if it is too long. */
export function joinMessages(texts: readonly string[]): string {
  let text = '';
  for (const [index, message] of texts.entries()) {
    text += index === 0 ? message : `; ${message}`;
    if (text.length > MAX_DETAILS_LENGTH) return wellFormed(`${text.slice(0, MAX_DETAILS_LENGTH)}...`);
  }
  return wellFormed(text);
}

type OmittedPart = NonNullable<Extract<GrpcServerEvent, { readonly type: 'handler-failed' }>['omitted']>;

export interface ServerStatus<Code extends number = StatusCode> {
  readonly code: Code;
  readonly details: string;
  readonly metadata?: Metadata | undefined;
  /**
   * Present if the error must be logged: the caller does not receive its message, or its code is a mistake, such as the string 'NOT_FOUND'.
   */
  readonly unexpected?: true;
  /**
   * Omitted part of the status; absent if everything is sent. 'message': the end of the message, and all trailers. 'trailers': some or all
   * trailers. If something is omitted, the error must be logged.
   */
  readonly omitted?: OmittedPart;
}

/**
 * Maximum size of a status in trailers, in bytes, with room for what grpc-js adds. A field of more than 64 KiB breaks its connection. Node
 * 20 does not send such a field, so this call and all later calls on the connection wait until their deadlines. With Node 22 or later, the
 * client cannot read the field and closes the connection. The limit applies to the sum of all fields. Node could send more, but most
 * clients already reject more than 8 KiB in total.
 */
const MAX_BYTES = 61_440;
/** Bytes that HTTP/2 counts for each field in addition to its name and value. */
const FIELD_OVERHEAD_BYTES = 32;

/**
 * Trailers that are not sent. Node throws an uncatchable error for connection-specific HTTP/1 fields, so the call hangs or the process
 * ends. A content-length makes callers reject the response. grpc-status and grpc-message would override the status.
 */
export const REFUSED_KEYS: ReadonlySet<string> = new Set([
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

/**
 * Names of the standard HTTP fields. Repeated values of such a field are joined, because Node throws an uncatchable error if a single-value
 * field occurs twice.
 */
const HTTP_FIELDS: ReadonlySet<unknown> = new Set(
  Object.entries(constants).flatMap(([name, value]) => (name.startsWith('HTTP2_HEADER_') ? [value] : [])),
);
/** The only standard field whose values cannot be joined. */
const SET_COOKIE = 'set-cookie';

/**
 * Returns `status` in a form that can be sent. Omits trailers that cannot be sent. If the status is too large, omits all trailers; if
 * the message alone is too long, truncates it. Keeps the code.
 */
export function truncateStatus<Code extends number>(status: ServerStatus<Code>): ServerStatus<Code> {
  const { code, details, metadata } = status;
  const sendable = metadata === undefined ? status : { ...status, ...sendableTrailers(metadata) };
  const textBytes = encodeURI(details).length;
  const bytes = sendable.metadata === undefined ? 0 : sizeOf(sendable.metadata.toHttp2Headers());
  if (textBytes + bytes <= MAX_BYTES) return sendable;
  const isTooLong = textBytes > MAX_BYTES;
  return {
    code,
    details: isTooLong ? joinMessages([details]) : details,
    ...(status.unexpected && { unexpected: true }),
    omitted: isTooLong ? 'message' : 'trailers',
  };
}

/** Returns `given`, or a copy without fields that cannot be sent; repeated standard fields are joined into a comma-separated list. */
function sendableTrailers(given: Metadata): Pick<ServerStatus, 'metadata' | 'omitted'> {
  const headers = Object.entries(given.toHttp2Headers());
  const refused = headers.filter(([key]) => REFUSED_KEYS.has(key));
  const repeated = headers.filter(
    ([key, values]) => Array.isArray(values) && HTTP_FIELDS.has(key) && key !== SET_COOKIE && !REFUSED_KEYS.has(key),
  );
  if (refused.length === 0 && repeated.length === 0) return { metadata: given };
  const metadata = given.clone();
  for (const [key] of refused) metadata.remove(key);
  for (const [key, values] of repeated) metadata.set(key, [values].flat().join(', '));
  return { metadata, ...(refused.length > 0 && { omitted: 'trailers' }) };
}

function sizeOf(headers: Readonly<Record<string, unknown>>): number {
  let bytes = 0;
  for (const [key, values] of Object.entries(headers)) {
    // Buffers are already encoded as text.
    for (const value of [values].flat()) bytes += key.length + String(value).length + FIELD_OVERHEAD_BYTES;
  }
  return bytes;
}
