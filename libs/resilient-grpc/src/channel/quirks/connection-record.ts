import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { StatusCode } from '../../status/status-code.js';
import { refusePushedStreams } from '../connection/pushed-streams.js';

/** grpc-js's transport: one connection and the calls on it. Another grpc-js may have no such fields. */
export interface ConnectionTransport {
  readonly session?: Pick<ClientHttp2Session, 'prependListener' | 'request' | 'socket' | 'destroyed'> &
    Partial<Pick<ClientHttp2Session, 'on'>>;
  readonly activeCalls?: Iterable<ActiveCall>;
  addDisconnectListener?(listener: () => void): void;
}

interface ActiveCall {
  readonly http2Stream?: StreamState;
  cancelWithStatus?(code: number, details: string): void;
}

type StreamState = Pick<ClientHttp2Stream, 'id' | 'closed' | 'destroyed' | 'state'>;

/** Facts about one connection that grpc-js does not report. */
export interface ConnectionRecord {
  /** Code of the peer's latest GOAWAY. Node opens no stream after one, so each attempt on this connection began before it. */
  goawayCode: number | undefined;
  /** Run at each GOAWAY, and when the connection closes. */
  readonly endListeners: Set<() => void>;
  /** `observeTransport` listens to the connection. */
  isObserved: boolean;
}

/**
 * Why the server's application never saw a stream. 'never-sent': its HEADERS frame was still queued here, for example behind
 * MAX_CONCURRENT_STREAMS. 'rejected': a GOAWAY named a lower last stream id (RFC 9113, section 6.8).
 */
export type Unprocessed = 'never-sent' | 'rejected';

/** nghttp2's state of a stream that it has not sent yet, or has forgotten. */
const IDLE = 1;

const records = new WeakMap<object, ConnectionRecord>();
const unprocessedStreams = new WeakMap<object, Unprocessed>();

/** The record of the connection that `transport` holds. */
export function connectionRecord(transport: object): ConnectionRecord {
  let record = records.get(transport);
  if (record === undefined) {
    record = { goawayCode: undefined, endListeners: new Set(), isObserved: false };
    records.set(transport, record);
  }
  return record;
}

/** Why the application never saw `stream`; undefined if it may have. */
export function unprocessed(stream: object): Unprocessed | undefined {
  return unprocessedStreams.get(stream);
}

/**
 * Refuses the streams that the server of a connection pushes, and records which streams were never processed, while that can still be
 * seen. After a GOAWAY with an error Node ends all streams with that error, whatever their ids are. When the socket closes, streams
 * that were sent and streams that were queued end alike. Later calls for one connection do nothing.
 */
export function observeTransport(transport: ConnectionTransport): void {
  const { session, activeCalls = [] } = transport;
  const connection = connectionRecord(transport);
  if (session === undefined || session.destroyed || connection.isObserved) return;
  connection.isObserved = true;
  refusePushedStreams(session);
  // Before Node and nghttp2 end the streams, which they do in this same event. A server may send a second GOAWAY with a lower id.
  session.prependListener('goaway', (code: number, lastStreamId: number) => {
    connection.goawayCode = code;
    // nghttp2 never sends what is still queued, but keeps it until another stream ends. Ending one can make nghttp2 end the others, so
    // all of them are recorded before.
    for (const queued of record(activeCalls, lastStreamId)) {
      queued.cancelWithStatus?.(StatusCode.UNAVAILABLE, 'The server sent GOAWAY before the stream was sent');
    }
    for (const ended of connection.endListeners) ended();
  });
  const closing = (): void => {
    record(activeCalls, Infinity);
    for (const ended of connection.endListeners) ended();
  };
  // A keepalive ping got no answer: grpc-js ends the calls a turn later, and the session with them.
  transport.addDisconnectListener?.(closing);
  session.socket.prependOnceListener('error', closing);
  session.socket.prependOnceListener('close', closing);
}

/** Records the open streams that were never processed, and returns the calls of those that are still queued here. */
function record(calls: Iterable<ActiveCall>, lastStreamId: number): readonly ActiveCall[] {
  const queued: ActiveCall[] = [];
  for (const call of calls) {
    const stream = call.http2Stream;
    if (stream === undefined || stream.closed || stream.destroyed) continue;
    if (stream.id === undefined || stream.state.state === IDLE) {
      unprocessedStreams.set(stream, 'never-sent');
      queued.push(call);
    } else if (stream.id > lastStreamId) {
      unprocessedStreams.set(stream, 'rejected');
    }
  }
  return queued;
}
