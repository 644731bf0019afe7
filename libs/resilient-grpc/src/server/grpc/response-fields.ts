import type { Metadata } from '@grpc/grpc-js';
import { encodedBound, encodeFields, listSize } from '../../transport/hpack/hpack-encoder.js';
import type { WriteBlock } from '../../transport/http2/frame-writer.js';
import type { ServerStream } from '../../transport/http2/server-stream.js';
import { REFUSED_KEYS, wellFormed } from '../errors/truncate-status.js';
import type { StatusLike } from '../calls/wire-call.js';

/** Limit of a response's header lists for clients that announce none, as in most implementations of gRPC. */
const DEFAULT_MAX_LIST_SIZE = 8_192;
/** The field of gRPC's richer error model, which is the first to go if a status is too large. */
const ERROR_DETAILS = 'grpc-status-details-bin';

const START = [':status', '200', 'content-type', 'application/grpc+proto'];
const HEAD = [...START, 'grpc-accept-encoding', 'identity,deflate,gzip', 'grpc-encoding', 'identity'];
/** Fields of the head that the metadata of a response may replace. */
const REPLACEABLE: ReadonlySet<string> = new Set(['content-type', 'grpc-accept-encoding', 'grpc-encoding']);

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

/** Sends the head of a response. */
export function sendHead(stream: ServerStream, metadata?: Metadata): void {
  const own = metadata === undefined ? [] : fieldsOf(metadata);
  if (own.length === 0) stream.head(PLAIN_HEAD.length, PLAIN_HEAD.write);
  else {
    const isReplaced = (name: string): boolean => REPLACEABLE.has(name) && own.includes(name);
    const fields = HEAD.filter((_, i) => !isReplaced(HEAD[i - (i % 2)] ?? ''));
    sendFields(stream, [...fields, ...own], false);
  }
}

/** Ends a response with its status. Without a head, the status is the whole response. */
export function sendStatus(stream: ServerStream, hasHead: boolean, { code, details, metadata }: StatusLike): void {
  const own = metadata === undefined ? [] : fieldsOf(metadata).filter(isNoHeadField);
  if (hasHead && own.length === 0 && code === 0 && details === 'OK') {
    stream.trailers(OK_TRAILERS.length, OK_TRAILERS.write);
    return;
  }
  const start = [...(hasHead ? [] : START), 'grpc-status', String(code)];
  sendFields(stream, fittingFields(start, details, own, stream.maxHeaderListSize), true);
}

/** Ends a response that consists of `fields`. */
export function sendFields(stream: ServerStream, fields: readonly string[], isEnd: boolean): void {
  const write: WriteBlock = (target, at) => encodeFields(target, at, fields);
  if (isEnd) stream.trailers(encodedBound(fields), write);
  else stream.head(encodedBound(fields), write);
}

/**
 * Returns the fields of a status within the client's limit, beyond which a client may end the whole connection: the code stays, the details
 * of the error go first, then the other metadata, then the end of the text.
 */
function fittingFields(start: readonly string[], details: string, own: readonly string[], limit: number): string[] {
  const max = limit === Infinity ? DEFAULT_MAX_LIST_SIZE : limit;
  const text = wellFormed(details);
  const withText = [...start, 'grpc-message', encodeURI(text)];
  for (const metadata of [own, without(own, ERROR_DETAILS), []]) {
    if (listSize(withText) + listSize(metadata) <= max) return [...withText, ...metadata];
  }
  return [...start, 'grpc-message', shortened(text, max - listSize([...start, 'grpc-message', '']))];
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

function without(fields: readonly string[], name: string): string[] {
  return fields.filter((_, i) => fields[i - (i % 2)] !== name);
}

function isNoHeadField(_: string, i: number, fields: readonly string[]): boolean {
  return !REPLACEABLE.has(fields[i - (i % 2)] ?? '');
}
