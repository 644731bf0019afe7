import { streamsOf } from '../../channel/quirks/session-streams.js';

/** The part of a node:http2 stream that is used. */
interface Http2StreamView {
  readonly headersSent: boolean;
  readonly state: { readonly remoteClose?: number | undefined };
}

/**
 * True if all open streams of a session are incomplete requests without a response. If such a request is unary or server-streaming, its
 * handler has not started. Node has no API for the streams of a session, and counting them would add a cost per call, so this reads
 * Node's internal state. False for incompatible versions of Node.
 */
export function awaitsRequestsOnly(session: object): boolean {
  const streams = streamsOf<Http2StreamView>(session);
  return streams.length > 0 && streams.every(({ headersSent, state }) => !headersSent && state.remoteClose === 0);
}
