import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { isStatusCode, StatusCode } from '../../status/status-code.js';
import type { SentStatus } from '../grpc/innermost-call.js';

/** Statuses that a reset replaced, by stream. */
const replacedStatuses = new WeakMap<object, SentStatus>();

/**
 * Resets the HTTP/2 stream of a grpc-js server call. A client that is not reading can be reached only by a reset, because a status would be
 * sent only after the client has read the earlier messages. grpc-js has no API for this. Returns false if no stream was found.
 * @param status the status that the call would have ended with
 */
export function resetStream(serverCall: object, status?: { readonly code: number; readonly details: string }): boolean {
  const stream = streamOf(serverCall);
  if (stream === undefined) return false;
  if (status !== undefined) replacedStatuses.set(stream, statusOf(status.code, status.details));
  stream.close(resetCodeOf(status?.code));
  return true;
}

/**
 * Returns ENHANCE_YOUR_CALM for RESOURCE_EXHAUSTED, because clients map it back to that status; otherwise CANCEL. REFUSED_STREAM, the
 * code for UNAVAILABLE, would mean that the request was not processed (gRPC over HTTP/2).
 */
function resetCodeOf(status: number | undefined): number {
  return status === StatusCode.RESOURCE_EXHAUSTED ? constants.NGHTTP2_ENHANCE_YOUR_CALM : constants.NGHTTP2_CANCEL;
}

/**
 * Returns the status that ended a grpc-js server call: the sent status, or the status that a reset replaced. Returns `undefined` if there
 * is no status, because the client cancelled or the connection was lost, or if no stream was found.
 */
export function sentStatusOf(serverCall: object): SentStatus | undefined {
  const stream = streamOf(serverCall);
  return stream && (statusSentBy(stream) ?? replacedStatuses.get(stream));
}

/** Returns the status with which a node:http2 stream ended; `undefined` if it sent none. */
export function statusSentBy({ sentTrailers, sentHeaders }: StatusPart): SentStatus | undefined {
  return statusIn(sentTrailers) ?? statusIn(sentHeaders);
}

/** Reports the size of each received chunk of messages. Returns false if no stream was found. */
export function observeData(serverCall: object, onBytes: (bytes: number) => void): boolean {
  const stream = streamOf(serverCall);
  // grpc-js has paused the stream, so this listener does not start the flow.
  stream?.on('data', (data) => {
    onBytes(data.length);
  });
  return stream !== undefined;
}

/**
 * True if the HTTP/2 stream of a grpc-js server call is closed. grpc-js may emit 'cancelled' later, because a reset first looks like the
 * end of the requests. False if no stream was found.
 */
export function isStreamClosed(serverCall: object): boolean {
  return streamOf(serverCall)?.closed === true;
}

/** True if no response can be sent: the stream is closed or its status was sent. grpc-js may start a call in this state. */
export function isStreamOver(serverCall: object): boolean {
  const stream = streamOf(serverCall);
  return stream !== undefined && (stream.closed || statusSentBy(stream) !== undefined);
}

/** The part of a node:http2 stream that this library uses. */
type Http2StreamPart = Pick<ServerHttp2Stream, 'closed' | 'close' | 'on'> & StatusPart;
type StatusPart = Partial<Pick<ServerHttp2Stream, 'sentHeaders' | 'sentTrailers'>>;

function statusIn(headers: OutgoingHttpHeaders | undefined): SentStatus | undefined {
  const code = headers?.['grpc-status'];
  if (headers === undefined || code === undefined) return undefined;
  return statusOf(Number(code), detailsOf(headers['grpc-message']));
}

function statusOf(code: number, details: string): SentStatus {
  return { code: isStatusCode(code) ? code : StatusCode.UNKNOWN, details };
}

/** Decodes a status message that grpc-js encoded. */
function detailsOf(message: unknown): string {
  if (typeof message !== 'string') return '';
  try {
    return decodeURI(message);
  } catch {
    return message;
  }
}

/**
 * Returns the HTTP/2 stream of a server call. If `serverCall` is the call that handlers receive, `serverCall.call` is the internal call of
 * grpc-js, possibly wrapped by interceptors (`nextCall`). The internal call has the `stream`. `serverCall` can also be an internal call.
 * Returns `undefined` if no stream was found.
 */
export function streamOf(serverCall: object): Http2StreamPart | undefined {
  let call: unknown = Reflect.get(serverCall, 'call') ?? serverCall;
  while (typeof call === 'object' && call !== null) {
    const stream: unknown = Reflect.get(call, 'stream');
    if (isStream(stream)) return stream;
    call = Reflect.get(call, 'nextCall');
  }
  return undefined;
}

function isStream(value: unknown): value is Http2StreamPart {
  if (typeof value !== 'object' || value === null) return false;
  return 'close' in value && typeof value.close === 'function' && 'closed' in value;
}
