import { constants, type OutgoingHttpHeaders } from 'node:http2';
import { isStatusCode, StatusCode } from '../../status/status-code.js';

/** A status on the wire. */
export interface SentStatus {
  readonly code: StatusCode;
  readonly details: string;
}

/**
 * Resets the HTTP/2 stream of a server call of grpc-js: the only end that reaches a client which does not read, behind what it has
 * not read. grpc-js offers no way to it: a status waits behind the messages, for ever. False: no stream was found.
 * @param status what it would have ended with
 */
export function resetStream(serverCall: object, status?: { readonly code: number; readonly details: string }): boolean {
  const stream = streamOf(serverCall);
  if (stream === undefined) return false;
  if (status !== undefined) Reflect.set(stream, RESET_AS, status);
  stream.close(resetCodeOf(status?.code));
  return true;
}

/** The code that clients make `status` of, where there is one that says nothing else: UNAVAILABLE would be "never seen" (gRPC over HTTP/2). */
function resetCodeOf(status: number | undefined): number {
  return status === StatusCode.RESOURCE_EXHAUSTED ? constants.NGHTTP2_ENHANCE_YOUR_CALM : constants.NGHTTP2_CANCEL;
}

/** The status that a stream was reset in place of. */
const RESET_AS = Symbol('status of a reset');

/**
 * The status that ended a server call of grpc-js: that which was sent, or in place of which it was reset. Undefined where there is
 * none: its client, or its connection, has gone; or no stream was found.
 */
export function sentStatusOf(serverCall: object): SentStatus | undefined {
  const stream = streamOf(serverCall);
  return stream && (statusSentBy(stream) ?? resetAs(stream));
}

/** The status that a stream of node:http2 ended with. */
export function statusSentBy({ sentTrailers, sentHeaders }: StatusPart): SentStatus | undefined {
  return statusIn(sentTrailers) ?? statusIn(sentHeaders);
}

/** Hears how many bytes of messages come, each time. False: no stream was found. */
export function hearData(serverCall: object, heard: (bytes: number) => void): boolean {
  const stream = streamOf(serverCall);
  // grpc-js has paused it, so that nothing begins to flow by this.
  stream?.on('data', (data) => {
    heard(data.length);
  });
  return stream !== undefined;
}

/**
 * Whether the HTTP/2 stream of a server call of grpc-js is closed, also where grpc-js has not said 'cancelled' yet: a reset first looks
 * like the end of the requests. False where no stream was found.
 */
export function isStreamClosed(serverCall: object): boolean {
  return streamOf(serverCall)?.closed === true;
}

/** Whether nothing can be answered any more: it is closed, or has got its status. grpc-js may begin a call of which that is true. */
export function isStreamOver(serverCall: object): boolean {
  const stream = streamOf(serverCall);
  return stream !== undefined && (stream.closed || statusSentBy(stream) !== undefined);
}

/** What is used of a stream of node:http2. */
interface Http2StreamPart extends StatusPart {
  readonly closed: boolean;
  close(code: number): void;
  on(event: 'data', listener: (data: Buffer) => void): unknown;
}

interface StatusPart {
  readonly sentHeaders?: OutgoingHttpHeaders | undefined;
  readonly sentTrailers?: OutgoingHttpHeaders | undefined;
}

function statusIn(headers: OutgoingHttpHeaders | undefined): SentStatus | undefined {
  const code = headers?.['grpc-status'];
  if (headers === undefined || code === undefined) return undefined;
  return statusOf(Number(code), detailsOf(headers['grpc-message']));
}

function resetAs(stream: object): SentStatus | undefined {
  // True: `resetStream` put it there.
  const status = Reflect.get(stream, RESET_AS) as { readonly code: number; readonly details: string } | undefined;
  return status && statusOf(status.code, status.details);
}

function statusOf(code: number, details: string): SentStatus {
  return { code: isStatusCode(code) ? code : StatusCode.UNKNOWN, details };
}

/** As grpc-js encodes it. */
function detailsOf(message: unknown): string {
  if (typeof message !== 'string') return '';
  try {
    return decodeURI(message);
  } catch {
    return message;
  }
}

/**
 * Of the call that handlers see, `call.call` is grpc-js's own, perhaps inside those of interceptors (`nextCall`), which has the
 * `stream`; one of those may be given too. Undefined with a version that is built otherwise.
 */
export function streamOf(serverCall: object): Http2StreamPart | undefined {
  let call: unknown = Reflect.get(serverCall, 'call') ?? serverCall;
  while (isObject(call)) {
    const stream: unknown = Reflect.get(call, 'stream');
    if (isStream(stream)) return stream;
    call = Reflect.get(call, 'nextCall');
  }
  return undefined;
}

function isStream(value: unknown): value is Http2StreamPart {
  return isObject(value) && 'close' in value && typeof value.close === 'function' && 'closed' in value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
