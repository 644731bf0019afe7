import { constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';

/** grpc-js's transport: one connection and the calls on it. Unsupported releases of grpc-js may lack these fields. */
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

/** Facts that grpc-js does not report about one connection. */
export interface ConnectionRecord {
  /** Code of the peer's latest GOAWAY. Node opens no stream after a GOAWAY, so each attempt on this connection began before it. */
  goawayCode: number | undefined;
  /** Called when a GOAWAY has a new code or rejects further streams, and when the connection closes. */
  readonly endListeners: Set<() => void>;
  /** Address of the connection in the history of its channel; `undefined` until the load-balancing policy reports the connection. */
  address: string | undefined;
  /** True if `observeTransport` listens to the connection. */
  isObserved: boolean;
}

type Unprocessed = WireEvidence['unprocessed'];

/** nghttp2's state for a stream that it has not sent yet, or no longer tracks. */
const IDLE = 1;

const records = new WeakMap<object, ConnectionRecord>();
const unprocessedStreams = new WeakMap<object, Unprocessed>();
const timedOutSessions = new WeakSet<object>();

/** Returns the record of the connection of `transport`. */
export function connectionRecord(transport: object): ConnectionRecord {
  let record = records.get(transport);
  if (record === undefined) {
    record = { goawayCode: undefined, endListeners: new Set(), address: undefined, isObserved: false };
    records.set(transport, record);
  }
  return record;
}

/** Records that the connection of `session` ended because the peer no longer responded. */
export function recordTimeout(session: object): void {
  timedOutSessions.add(session);
}

/** True if the connection of `session` ended because the peer no longer responded. */
export function hasTimedOut(session: object): boolean {
  return timedOutSessions.has(session);
}

/** Reason why the server application never received `stream`; `undefined` if it may have received the stream. */
export function unprocessed(stream: object): Unprocessed {
  return unprocessedStreams.get(stream);
}

/** True if HTTP/2 still queues `stream` on this side, for example because the peer's limit on concurrent streams has been reached. */
export function isQueued(stream: StreamState): boolean {
  return !stream.closed && !stream.destroyed && (stream.id === undefined || stream.state.state === IDLE);
}

/**
 * Records `stream` as never sent if a reset removed it from the queue. Must be called immediately after this side reset the stream,
 * and only if the stream was queued before the reset. Before a reset, Node sends all data that can be sent. nghttp2 then drops a request
 * that is still queued; otherwise, it tracks the stream until the reset is sent. Must not be called inside an
 * event of the same session: Node then postpones the reset, so the state of the stream does not show whether the request was sent.
 */
export function recordResetInQueue(stream: StreamState): void {
  if (stream.closed && !stream.destroyed && stream.state.state === IDLE) unprocessedStreams.set(stream, 'never-sent');
}

/**
 * Refuses the streams that the server pushes, and records which streams were never processed, before that information is lost. After a
 * GOAWAY with an error, Node ends all streams with that error, regardless of their IDs. When the socket closes, queued streams end in the
 * same way as sent streams. Does nothing if the connection is already observed.
 */
export function observeTransport(transport: ConnectionTransport): void {
  const { session, activeCalls = [] } = transport;
  const connection = connectionRecord(transport);
  if (session === undefined || session.destroyed || connection.isObserved) return;
  connection.isObserved = true;
  session.on?.('stream', refusePushedStream);
  let lastOpenId = Infinity;
  // Prepended, because Node and nghttp2 end the streams in the same event. Not a one-time listener, because a server may send a second
  // GOAWAY with a lower ID.
  session.prependListener('goaway', (code: number, lastStreamId: number) => {
    // Node opens no stream after the first GOAWAY. A repeated GOAWAY that rejects no further stream is ignored, because a peer can send
    // tens of thousands of GOAWAYs at once, and each pass over the streams takes time.
    if (code === connection.goawayCode && lastStreamId >= lastOpenId) return;
    connection.goawayCode = code;
    // nghttp2 never sends queued streams after a GOAWAY, but keeps them until another stream ends. If one queued stream is ended, nghttp2
    // can end the others, too, so all of them are recorded first.
    const { queued, lastAcceptedId } = record(activeCalls, lastStreamId);
    lastOpenId = lastAcceptedId;
    for (const call of queued) {
      call.cancelWithStatus?.(StatusCode.UNAVAILABLE, 'The server sent GOAWAY before the stream was sent');
    }
    for (const ended of connection.endListeners) ended();
  });
  const closing = (): void => {
    record(activeCalls, Infinity);
    for (const ended of connection.endListeners) ended();
  };
  // After an unanswered keepalive ping, grpc-js calls this listener one turn before it ends the calls and the session.
  transport.addDisconnectListener?.(closing);
  session.socket.prependOnceListener('error', closing);
  session.socket.prependOnceListener('close', closing);
}

/**
 * Records the open streams that were never processed. Returns the calls whose streams are still queued on this side, and the highest ID of
 * the open streams that may have been processed; 0 if no such stream is open.
 */
function record(
  calls: Iterable<ActiveCall>,
  lastStreamId: number,
): { readonly queued: readonly ActiveCall[]; readonly lastAcceptedId: number } {
  const queued: ActiveCall[] = [];
  let lastAcceptedId = 0;
  for (const call of calls) {
    const stream = call.http2Stream;
    if (stream === undefined || stream.closed || stream.destroyed) continue;
    if (isQueued(stream)) {
      unprocessedStreams.set(stream, 'never-sent');
      queued.push(call);
    } else if ((stream.id ?? 0) > lastStreamId) {
      unprocessedStreams.set(stream, 'rejected');
    } else {
      lastAcceptedId = Math.max(lastAcceptedId, stream.id ?? 0);
    }
  }
  return { queued, lastAcceptedId };
}

/**
 * Refuses a stream that the server pushed, because gRPC does not use server push. grpc-js adds no 'error' listener to pushed streams, so an
 * error (for example, after a GOAWAY with an error) would end the process.
 */
function refusePushedStream(stream: ClientHttp2Stream): void {
  // Ignores errors, because no call uses this stream.
  stream.on('error', () => undefined);
  stream.close(constants.NGHTTP2_REFUSED_STREAM);
  // Discards the data, because Node closes a stream only after its data is read.
  stream.resume();
}
