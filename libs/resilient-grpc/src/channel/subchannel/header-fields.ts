import { Metadata, type StatusObject } from '@grpc/grpc-js';
import type { ResponseHeaders } from '../../call/attempt.js';
import { formatGrpcTimeout } from '../../policy/deadline/deadline.js';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import type { LocalFailure } from '../../policy/evidence/local-failure.js';
import { StatusCode } from '../../status/status-code.js';
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
    // Peers on Node drop a field with a space at an end of its value. gRPC over HTTP/2 lets anybody strip it.
    if (!Array.isArray(value)) fields.push(name, String(value).trim());
    else if (name === 'authorization' && value.length > 1)
      throw new TypeError(`Header field "${name}" must only have a single value`);
    else for (const one of value) fields.push(name, one.trim());
  }
  return fields;
}

/**
 * Returns `fields` of a request with its `grpc-timeout`. They are copied one by one: a spread array has room for 16 more, and `concat()` is
 * slower.
 */
export function withTimeout(fields: readonly string[], timeoutMs: number): readonly string[] {
  const { length } = fields;
  const timed = Array<string>(length + 2);
  for (let at = 0; at < length; at += 1) timed[at] = fields[at] ?? '';
  timed[length] = 'grpc-timeout';
  timed[length + 1] = formatGrpcTimeout(timeoutMs);
  return timed;
}

/** Returns the first value of a field; `fields` are names and values, in turn. */
function valueOf(fields: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

const ACCEPTED = 'grpc-accept-encoding';
const ENCODING_FIELDS: ReadonlySet<string> = new Set(['grpc-encoding', ACCEPTED]);
const STATUS_FIELDS: ReadonlySet<string> = new Set(['grpc-status', 'grpc-message']);

/** Headers of a response on the transport of this library. Encodings are no metadata. */
export class ReceivedHeaders implements ResponseHeaders {
  readonly contentType: string | undefined;
  readonly encoding: string | undefined;
  private created: Metadata | undefined = undefined;

  constructor(private readonly block: HeaderBlock) {
    this.contentType = block.contentType;
    this.encoding = block.grpcEncoding;
  }

  get metadata(): Metadata {
    return (this.created ??= metadataOf(this.block, ENCODING_FIELDS));
  }

  /** Encodings that the server accepts. */
  get acceptedEncodings(): string | undefined {
    return valueOf(this.block.fields, ACCEPTED);
  }
}

/** A status from the server. Its metadata are created when somebody asks, which after a success hardly anybody does. */
class ReceivedStatus implements StatusObject {
  private created: Metadata | undefined = undefined;

  constructor(
    readonly code: number,
    readonly details: string,
    private readonly block: HeaderBlock,
  ) {}

  get metadata(): Metadata {
    return (this.created ??= metadataOf(this.block, STATUS_FIELDS));
  }
}

/** Statuses of HTTP responses that are not gRPC (gRPC, "HTTP to gRPC Status Code Mapping"), with 400 as in grpc-js. */
const BY_HTTP_STATUS: Readonly<Record<number, StatusCode>> = {
  400: StatusCode.INTERNAL,
  401: StatusCode.UNAUTHENTICATED,
  403: StatusCode.PERMISSION_DENIED,
  404: StatusCode.UNIMPLEMENTED,
  429: StatusCode.UNAVAILABLE,
  502: StatusCode.UNAVAILABLE,
  503: StatusCode.UNAVAILABLE,
  504: StatusCode.UNAVAILABLE,
};

/** The status of an attempt, and what it shows. */
export interface WireStatus extends StatusObject {
  /** What this side observed; absent if the server sent the status. */
  readonly failure?: LocalFailure | undefined;
  readonly evidence?: Partial<WireEvidence>;
}

/** Returns the status of a response whose last header block is `block`. `httpStatus` is its `:status`. */
export function statusOf(block: HeaderBlock, httpStatus: number): WireStatus {
  const { grpcStatus, grpcMessage = '' } = block;
  if (grpcStatus !== undefined) {
    return new ReceivedStatus(grpcStatus === '0' ? 0 : codeOf(grpcStatus), decoded(grpcMessage), block);
  }
  const code = BY_HTTP_STATUS[httpStatus] ?? StatusCode.UNKNOWN;
  const details = `Received HTTP status code ${String(httpStatus).padStart(3, '0')}`;
  return { code, details, metadata: metadataOf(block), failure: 'http' };
}

/** Returns NaN for what is no decimal number (gRPC over HTTP/2, Status): `Number` takes an empty value for 0, a success. */
function codeOf(grpcStatus: string): number {
  return /^\d+$/.test(grpcStatus) ? Number(grpcStatus) : NaN;
}

const ENCODED = /(?:%[0-9a-f]{2})+/gi;

/** Decodes a `grpc-message` (gRPC over HTTP/2, Status-Message). What is malformed stays as it is, and what is no UTF-8 becomes U+FFFD. */
function decoded(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(ENCODED, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString());
}

// What grpc-js takes as the name and the text of metadata.
const LEGAL_NAME = /^[:0-9a-z_.-]+$/;
const LEGAL_TEXT = /^[ -~]*$/;

/** Number of fields above which repeated ones are not looked for: each field would be compared with all others. */
const MAX_COMPARED = 32;

/**
 * Returns the metadata of a header block, except the fields in `omitted`. Repeated fields are joined, as in `node:http2`. What metadata cannot
 * contain is dropped, as in `Metadata.fromHttp2Headers()`, which also logs it: it may be a credential.
 */
export function metadataOf({ fields, hasUnusual }: HeaderBlock, omitted?: ReadonlySet<string>): Metadata {
  const metadata = new Metadata();
  let joined: Map<string, string | string[]> | undefined;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    if (omitted?.has(name) === true) continue;
    if (name !== 'set-cookie' && !mayBeRepeated(fields, name, i)) {
      addField(metadata, name, value, hasUnusual);
      continue;
    }
    joined ??= new Map();
    const earlier = joined.get(name);
    if (earlier === undefined) joined.set(name, name === 'set-cookie' ? [value] : value);
    else if (typeof earlier !== 'string') earlier.push(value);
    else if (!SINGLE_FIELDS.has(name)) joined.set(name, `${earlier}${name === 'cookie' ? ';' : ','} ${value}`);
  }
  if (joined !== undefined) for (const [name, value] of joined) addField(metadata, name, value, hasUnusual);
  return metadata;
}

function mayBeRepeated(fields: readonly string[], name: string, at: number): boolean {
  if (fields.length > 2 * MAX_COMPARED) return true;
  for (let i = 0; i < fields.length; i += 2) if (i !== at && fields[i] === name) return true;
  return false;
}

function addField(metadata: Metadata, name: string, value: string | readonly string[], mayBeIllegal: boolean): void {
  if (!LEGAL_NAME.test(name)) return;
  if (typeof value !== 'string') {
    const end = value.findIndex((one) => !LEGAL_TEXT.test(one));
    for (const one of end < 0 ? value : value.slice(0, end)) metadata.add(name, one);
  } else if (name.endsWith('-bin')) {
    const parts = name.startsWith('grpc-') ? [value] : value.split(',');
    for (const part of parts) metadata.add(name, Buffer.from(part, 'base64'));
  } else if (!mayBeIllegal || LEGAL_TEXT.test(value)) metadata.set(name, value);
}
