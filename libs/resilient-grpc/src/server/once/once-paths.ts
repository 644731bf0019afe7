import type { Server } from '@grpc/grpc-js';
import { OWN_SERIALIZERS } from '../../call/method.js';
import { entriesOf, setEntry, type Entry } from '../../channel/quirks/unbound-server.js';
import { ONCE_SUFFIX } from '../../policy/once/once-fields.js';
import { errorOf, type AnswerCallback, type WireCall } from '../calls/wire-call.js';
import { KeptMessage } from './kept-end.js';
import { storeFailure } from './once-call.js';
import { RequestBytes, setOnceRequest } from './once-request.js';
import type { OnceServer } from './once-server.js';

/**
 * Adds the path for keys of the registered method with `path`. Its requests are served as those of the method; handlers, agents, and metrics
 * see the method's own name.
 */
export function addOncePath(server: Server, path: string, once: OnceServer): void {
  const entry = entriesOf(server).get(path);
  if (entry === undefined) return;
  const serialize = (message: unknown): Buffer =>
    // Safe cast: the bytes of an end that was kept, or is about to be.
    message instanceof KeptMessage ? (message.bytes as Buffer) : entry.serialize(message);
  if (OWN_SERIALIZERS.has(entry.serialize)) OWN_SERIALIZERS.add(serialize);
  const arrived = new RequestBytes();
  const deserialize = (bytes: Buffer): unknown => {
    const message = entry.deserialize(bytes);
    if (typeof message === 'object' && message !== null) arrived.add(message, bytes);
    return message;
  };
  const serve = (call: WireCall, callback: AnswerCallback): void => {
    const request = once.read(call.metadata, arrived.take(call.request));
    if ('code' in request) {
      callback(errorOf(request));
      return;
    }
    const serveHere = (isElsewhere: boolean): void => {
      if (isElsewhere) {
        callback(errorOf(once.elsewhere()));
        return;
      }
      setOnceRequest(call, request);
      // The cast is safe: the method is unary. An agent may have replaced the function since.
      (entry.func as unknown as (call: WireCall, callback: AnswerCallback) => void)(call, callback);
    };
    const isElsewhere = once.isElsewhere(request);
    if (typeof isElsewhere === 'boolean') serveHere(isElsewhere);
    else
      isElsewhere.then(serveHere, (error: unknown) => {
        callback(errorOf(storeFailure(error)));
      });
  };
  setEntry(server, path + ONCE_SUFFIX, { ...entry, serialize, deserialize, func: serve as unknown as Entry['func'] });
}
