import type { Metadata } from '@grpc/grpc-js';
import { encodedBound, encodeFields, listSize } from '../../transport/hpack/hpack-encoder.js';
import type { WriteBlock } from '../../transport/http2/frame-writer.js';
import type { ServerStream } from '../../transport/http2/server-stream.js';
import { ONCE_MARK } from '../../policy/once/once-fields.js';
import { moment, systemClock } from '../../time/clock.js';
import { wellFormed } from '../errors/status-text.js';
import type { StatusLike } from '../calls/wire-call.js';

/** Limit of a response's header lists for clients that announce none, as in most implementations of gRPC. */
const DEFAULT_MAX_LIST_SIZE = 8_192;
/** The field of gRPC's richer error model, which is the first to go if a status is too large. */
const ERROR_DETAILS: ReadonlySet<string> = new Set(['grpc-status-details-bin']);

const NO_FIELDS: readonly string[] = [];
const START = [':status', '200', 'content-type', 'application/grpc+proto'];
const ENCODINGS = ['grpc-accept-encoding', 'identity,deflate,gzip', 'grpc-encoding', 'identity'];
/** Fields of the head that the metadata of a response may replace, and those of a status may not. */
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

/** The fields with which responses of one second begin, because each has a date (RFC 9110, section 6.6.1), and the head without metadata. */
class ResponseStart {
  readonly start: readonly string[];
  readonly head: readonly string[];
  readonly plainHead: FixedBlock;

  constructor(readonly second: number) {
    this.start = [...START, 'date', moment(second * 1_000).toUTCString()];
    this.head = [...this.start, ...ENCODINGS];
    this.plainHead = new FixedBlock(this.head);
  }
}

let latest = new ResponseStart(0);

function startNow(): ResponseStart {
  const second = Math.trunc(systemClock.epoch() / 1_000);
  if (second !== latest.second) latest = new ResponseStart(second);
  return latest;
}

const OK_TRAILERS = new FixedBlock(['grpc-status', '0', 'grpc-message', 'OK']);

/** Sends the head of a response. Returns false, and sends nothing, if `metadata` exceed the limit that the client has announced. */
export function sendHead(stream: ServerStream, metadata?: Metadata): boolean {
  const own = without(fieldsOf(metadata), REFUSED_KEYS);
  const { head, plainHead } = startNow();
  if (own.length === 0) {
    stream.head(plainHead.length, plainHead.write);
    return true;
  }
  const fields = [...without(head, namesOf(own)), ...own];
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
  const given = without(fieldsOf(metadata), REPLACEABLE);
  if (hasHead && given.length === 0 && code === 0 && details === 'OK') {
    stream.trailers(OK_TRAILERS.length, OK_TRAILERS.write);
    return true;
  }
  const { maxHeaderListSize: announced } = stream;
  const max = announced === Infinity ? DEFAULT_MAX_LIST_SIZE : announced;
  const start = [
    ...(hasHead ? [] : without(startNow().start, namesOf(given))),
    'grpc-status',
    String(code),
    'grpc-message',
  ];
  const text = wellFormed(details);
  const withText = [...start, encodeURI(text)];
  const left = max - listSize(withText);
  const own = without(given, REFUSED_KEYS);
  const sendable = [own, without(own, ERROR_DETAILS), only(own, ONCE_MARK), []].find(
    (fields) => listSize(fields) <= left,
  );
  if (sendable === undefined) sendFields(stream, [...start, shortened(text, max - listSize([...start, '']))], true);
  else sendFields(stream, [...withText, ...sendable], true);
  return sendable?.length === given.length;
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

/** Returns the names and values of `metadata`. */
function fieldsOf(metadata: Metadata | undefined): readonly string[] {
  if (metadata === undefined) return NO_FIELDS;
  const headers = metadata.toHttp2Headers();
  const fields: string[] = [];
  // Without spaces at its ends, because clients on Node drop a field that has them. gRPC over HTTP/2 lets anybody strip them.
  for (const name in headers) for (const value of [headers[name]].flat()) fields.push(name, String(value).trim());
  return fields;
}

function namesOf(fields: readonly string[]): ReadonlySet<string> {
  return new Set(fields.filter((_, i) => i % 2 === 0));
}

/** Returns the field `name`. */
function only(fields: readonly string[], name: string): readonly string[] {
  return fields.filter((_, i) => fields[i - (i % 2)] === name);
}

function without(fields: readonly string[], names: ReadonlySet<string>): readonly string[] {
  return fields.length === 0 ? fields : fields.filter((_, i) => !names.has(fields[i - (i % 2)] ?? ''));
}
