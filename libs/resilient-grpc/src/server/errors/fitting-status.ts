import type { Metadata } from '@grpc/grpc-js';
import type { StatusCode } from '../../status/status-code.js';
import { sendableTrailers } from './sendable-trailers.js';
import { joined } from './status-text.js';

/** What a call ends with. */
export interface ServerStatus {
  readonly code: StatusCode;
  readonly details: string;
  /** Trailers. */
  readonly metadata?: Metadata;
  /** Nobody meant this status: the error it was made from belongs in the log, as the caller is not told of it. */
  readonly unexpected?: true;
}

/**
 * Most of a status as trailers, in bytes, with room for what grpc-js adds. A field of more than 64 KiB takes its connection along: Node
 * 20 does not send it, and not only does the call wait until its deadline, but every later one there; from 22 on the client cannot
 * read it, and gives up the connection. All fields together are held to the same, though more would pass: clients take less.
 */
const MAX_BYTES = 61_440;
/** What HTTP/2 counts for each field beside its name and value. */
const FIELD_OVERHEAD = 32;

/**
 * `status` as it can be sent: without those trailers that cannot be; and without any, its text cut short, where they are too long.
 * Its code stays.
 */
export function fittingStatus(status: ServerStatus): ServerStatus {
  const { code, details, metadata } = status;
  const sendable = metadata === undefined ? status : { ...status, ...sendableTrailers(metadata) };
  const textBytes = encodeURI(details).length;
  const bytes = sendable.metadata === undefined ? 0 : sizeOf(sendable.metadata.toHttp2Headers());
  if (textBytes + bytes <= MAX_BYTES) return sendable;
  return { code, details: textBytes > MAX_BYTES ? joined([details]) : details, unexpected: true };
}

function sizeOf(headers: Readonly<Record<string, unknown>>): number {
  let bytes = 0;
  for (const [key, values] of Object.entries(headers)) {
    // Text, buffers too by now.
    for (const value of [values].flat()) bytes += key.length + String(value).length + FIELD_OVERHEAD;
  }
  return bytes;
}
