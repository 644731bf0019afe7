import { constants } from 'node:http2';

/**
 * Resets the HTTP/2 stream of a server call of grpc-js: the only end that reaches a client which does not read, behind what it has
 * not read. grpc-js offers no way to it: a status waits behind the messages, for ever. `call.call` is its own call, perhaps inside
 * those of interceptors (`nextCall`), which has the `stream`. False: no stream was found, as in a version built otherwise.
 */
export function resetStream(serverCall: object): boolean {
  let call: unknown = Reflect.get(serverCall, 'call');
  while (isObject(call)) {
    const stream: unknown = Reflect.get(call, 'stream');
    if (isClosable(stream)) {
      stream.close(constants.NGHTTP2_CANCEL);
      return true;
    }
    call = Reflect.get(call, 'nextCall');
  }
  return false;
}

function isClosable(value: unknown): value is { close(code: number): void } {
  return isObject(value) && 'close' in value && typeof value.close === 'function';
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
