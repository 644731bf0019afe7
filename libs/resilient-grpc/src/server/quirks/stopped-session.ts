import { constants, type Http2Stream } from 'node:http2';
import { types } from 'node:util';
import { reach, symbolOf } from '../../channel/quirks/seam.js';

/** The public fields of a `node:http2` session that `isStopped` reads. */
export interface StoppableSession {
  readonly closed: boolean;
  readonly destroyed: boolean;
}

/** Private handle of a session. Some supported releases of Node, such as 22.12.0, lack `hasPendingData`. */
interface SessionHandle {
  hasPendingData?(): boolean;
}

/** Key of the handle of each session in this process; `undefined` until a session has a handle. Cached, because the search is slow. */
let handleKey: symbol | undefined;

/** States of a stream that nghttp2 still processes. */
const OPEN_STATES: readonly unknown[] = [
  constants.NGHTTP2_STREAM_STATE_OPEN,
  constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL,
  constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE,
];

/**
 * True if HTTP/2 has stopped on `session` and Node has not reported the end. After a protocol error by the peer, such as a SETTINGS frame
 * of 5 bytes, nghttp2 sends GOAWAY and then neither reads nor writes. For most of these errors, Node emits no event: the socket stays open,
 * a FIN is not detected, and each stream waits forever. The only symptom is that nghttp2 has no pending reads or writes. Node exposes this
 * state on a private handle. False if this release of Node lacks the handle or its `hasPendingData`.
 */
export function isStopped(session: StoppableSession): boolean {
  if (session.destroyed) return false;
  handleKey ??= symbolOf(session, 'kHandle');
  if (handleKey === undefined) return false;
  // Safe for the supported releases of Node.
  const handle = Reflect.get(session, handleKey) as SessionHandle | null | undefined;
  if (handle?.hasPendingData?.() !== false) return false;
  // A closed session counts only if a stream is open. After the last stream has ended, such a session has no pending reads or writes, and
  // Node destroys it when the application has read that stream.
  return !session.closed || streamsOf(session).some(({ state }) => OPEN_STATES.includes(state.state));
}

/** Returns those streams of a session that Node has not yet destroyed; empty if this release of Node stores them elsewhere. */
function streamsOf(session: object): readonly Http2Stream[] {
  const streams = reach(session, '[state].streams');
  // Node uses an internal map class, which is not an instance of `Map`. Safe: it stores the streams by id.
  return types.isMap(streams) ? [...(streams as ReadonlyMap<number, Http2Stream>).values()] : [];
}
