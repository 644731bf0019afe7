import type { Metadata } from '@grpc/grpc-js';
import { encodedBound, encodeFields, listSize } from '../../transport/hpack/hpack-encoder.js';
import type { WriteBlock } from '../../transport/http2/frame-writer.js';
import type { ServerStream } from '../../transport/http2/server-stream.js';
import { wellFormed } from '../errors/status-text.js';
import type { StatusLike } from '../calls/wire-call.js';

/** Limit of a response's header lists for clients that announce none, as in most implementations of gRPC. */
const DEFAULT_MAX_LIST_SIZE = 8_192;
/** The field of gRPC's richer error model, which is the first to go if a status is too large. */
const ERROR_DETAILS = 'grpc-status-details-bin';

const START = [':status', '200', 'content-type', 'application/grpc+proto'];
const HEAD = [...START, 'grpc-accept-encoding', 'identity,deflate,gzip', 'grpc-encoding', 'identity'];
/** Fields of the head that the metadata of a response may replace. */
const REPLACEABLE: ReadonlySet<string> = new Set(['content-type', 'grpc-accept-encoding', 'grpc-encoding']);

/**
 * Fields that no response contains: HTTP/2 forbids those of connections, a content-length makes callers reject the response, and grpc-status
 * and grpc-message would override the status.
 */
const REFUSED_KEYS: ReadonlySet<string> = new Set([
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

/** A header block that is the same for all responses. */
class FixedBlock {
  private readonly bytes: Buffer;

  constructor(fields: readonly string[]) {
    const bytes = Buffer.alloc(encodedBound(fields));
    this.bytes = bytes.subarray(0, encodeFields(bytes, 0, fields));
  }

  get length(): number {
    return this.bytes.length;
  }

  readonly write: WriteBlock = (target, at) => at + this.bytes.copy(target, at);
}

const PLAIN_HEAD = new FixedBlock(HEAD);
const OK_TRAILERS = new FixedBlock(['grpc-status', '0', 'grpc-message', 'OK']);

/** Sends the head of a response. Returns false, and sends nothing, if `metadata` exceed the limit that the client has announced. */
export function sendHead(stream: ServerStream, metadata?: Metadata): boolean {
  const own = metadata === undefined ? [] : fieldsOf(metadata);
  if (own.length === 0) {
    stream.head(PLAIN_HEAD.length, PLAIN_HEAD.write);
    return true;
  }
  const isReplaced = (name: string): boolean => REPLACEABLE.has(name) && own.includes(name);
  const fields = [...HEAD.filter((_, i) => !isReplaced(HEAD[i - (i % 2)] ?? '')), ...own];
  const fits = listSize(fields) <= stream.maxHeaderListSize;
  if (fits) sendFields(stream, fields, false);
  return fits;
}

/**
 * Ends a response with its status. Without a head, the status is the whole response. Returns false if a part of it is not sent, because it is
 * forbidden, or exceeds the client's limit, beyond which a client may end the whole connection: the code stays, the details of the error go
 * first, then the other metadata, then the end of the text.
 */
export function sendStatus(stream: ServerStream, hasHead: boolean, { code, details, metadata }: StatusLike): boolean {
  const own = metadata === undefined ? [] : fieldsOf(metadata).filter(isNoHeadField);
  if (hasHead && own.length === 0 && code === 0 && details === 'OK') {
    stream.trailers(OK_TRAILERS.length, OK_TRAILERS.write);
    return true;
  }
  const { maxHeaderListSize: announced } = stream;
  const max = announced === Infinity ? DEFAULT_MAX_LIST_SIZE : announced;
  const start = [...(hasHead ? [] : START), 'grpc-status', String(code), 'grpc-message'];
  const text = wellFormed(details);
  const withText = [...start, encodeURI(text)];
  const left = max - listSize(withText);
  const sendable = [own, without(own, ERROR_DETAILS), []].find((fields) => listSize(fields) <= left);
  if (sendable === undefined) sendFields(stream, [...start, shortened(text, max - listSize([...start, '']))], true);
  else sendFields(stream, [...withText, ...sendable], true);
  return sendable?.length === own.length && !hasRefused(metadata);
}

/** Sends a header block that consists of `fields`; with `isEnd`, the last one. */
export function sendFields(stream: ServerStream, fields: readonly string[], isEnd: boolean): void {
  const write: WriteBlock = (target, at) => encodeFields(target, at, fields);
  if (isEnd) stream.trailers(encodedBound(fields), write);
  else stream.head(encodedBound(fields), write);
}

/** Returns `text` in its encoded form, cut to at most `max` characters. */
function shortened(text: string, max: number): string {
  let kept = text.slice(0, Math.max(max, 0));
  // Each character is encoded in one to nine.
  for (;;) {
    const encoded = encodeURI(wellFormed(kept));
    if (encoded.length <= max || kept === '') return encoded;
    kept = kept.slice(0, Math.floor((kept.length * Math.max(max, 0)) / encoded.length));
  }
}

/** Returns the names and values of `metadata` that a response can contain. */
function fieldsOf(metadata: Metadata): string[] {
  const headers = metadata.toHttp2Headers();
  const fields: string[] = [];
  for (const name in headers) {
    if (REFUSED_KEYS.has(name)) continue;
    for (const value of [headers[name]].flat()) fields.push(name, String(value));
  }
  return fields;
}

function hasRefused(metadata: Metadata | undefined): boolean {
  return metadata !== undefined && Object.keys(metadata.getMap()).some((name) => REFUSED_KEYS.has(name));
}

function without(fields: readonly string[], name: string): string[] {
  return fields.filter((_, i) => fields[i - (i % 2)] !== name);
}

function isNoHeadField(_: string, i: number, fields: readonly string[]): boolean {
  return !REPLACEABLE.has(fields[i - (i % 2)] ?? '');
}
