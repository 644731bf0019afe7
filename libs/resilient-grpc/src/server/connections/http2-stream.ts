import { constants } from 'node:http2';

/**
 * Resets the HTTP/2 stream of a server call of grpc-js: the only end that reaches a client which does not read, behind what it has
 * not read. grpc-js offers no way to it: a status waits behind the messages, for ever. False: no stream was found.
 */
export function resetStream(serverCall: object): boolean {
  const stream = streamOf(serverCall);
  stream?.close(constants.NGHTTP2_CANCEL);
  return stream !== undefined;
}

/**
 * Whether the HTTP/2 stream of a server call of grpc-js is closed, also where grpc-js has not said 'cancelled' yet: a reset first looks
 * like the end of the requests. False where no stream was found.
 */
export function isStreamClosed(serverCall: object): boolean {
  return streamOf(serverCall)?.closed === true;
}

/** What is used of a stream of node:http2. */
interface Http2StreamPart {
  readonly closed: boolean;
  close(code: number): void;
}

/**
 * `call.call` is grpc-js's own call, perhaps inside those of interceptors (`nextCall`), which has the `stream`. Undefined with a
 * version that is built otherwise.
 */
function streamOf(serverCall: object): Http2StreamPart | undefined {
  let call: unknown = Reflect.get(serverCall, 'call');
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
