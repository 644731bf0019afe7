import { constants, type Http2Stream } from 'node:http2';
import { reach } from './seam.js';
import { streamsOf } from './session-streams.js';

/** A session of `node:http2`. */
export interface StoppableSession {
  readonly closed: boolean;
  readonly destroyed: boolean;
}

/** The private handle of a session. Another Node may have no such function. */
interface SessionHandle {
  hasPendingData?(): boolean;
}

/** States of a stream that nghttp2 is not done with. */
const OPEN: readonly unknown[] = [
  constants.NGHTTP2_STREAM_STATE_OPEN,
  constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL,
  constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE,
];

/**
 * True if HTTP/2 has ended on `session` and Node has not noticed. After a connection error of the peer, such as a SETTINGS frame of
 * 5 bytes, nghttp2 sends GOAWAY, and from then on neither reads nor writes. For most of these errors Node emits no event: the socket
 * stays open, its end is not read, and each stream waits forever. The only trace is that nghttp2 wants neither to read nor to write,
 * which Node shows on a private handle. False if this Node does not show it.
 */
export function isStopped(session: StoppableSession): boolean {
  if (session.destroyed) return false;
  // True at every Node this was written for.
  const handle = reach(session, '[kHandle]') as SessionHandle | null | undefined;
  if (handle?.hasPendingData?.() !== false) return false;
  // A closed session wants nothing after its last stream has ended. Node ends it when the application has read that stream.
  return !session.closed || streamsOf<Http2Stream>(session).some(({ state }) => OPEN.includes(state.state));
}
