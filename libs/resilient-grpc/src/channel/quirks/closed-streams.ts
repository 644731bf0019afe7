import { EventEmitter } from 'node:events';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';

/**
 * From here on each stream of the session forgets who listened to it when it is closed. What Node keeps of a request may live until a
 * major garbage collection, long behind its end: then the stream does, and what its caller had in his AsyncLocalStorage, but no more
 * what grpc-js, this library and the caller's functions had of the call. It is half of what the minor collections copied, with one
 * call in flight.
 */
export function forgetClosedStreams(session: Partial<Pick<ClientHttp2Session, 'request'>>): void {
  const { request } = session;
  // Another grpc-js may have no such session.
  if (request === undefined) return;
  session.request = (headers, options) => request.call(session, headers, options).on('close', forget);
}

/** Who listens to this very event is told all the same. */
function forget(this: ClientHttp2Stream): void {
  // First the one that would be told of each of the others, which is slow. As is the stream's own method, which looks if it is read yet.
  EventEmitter.prototype.removeAllListeners.call(this, 'removeListener');
  EventEmitter.prototype.removeAllListeners.call(this);
  // Nothing comes behind 'close'; an error that did would end the process.
  this.on('error', ignore);
}

function ignore(): void {
  // Its call has had its status.
}
