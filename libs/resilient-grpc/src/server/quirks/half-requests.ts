import { streamsOf } from '../../channel/quirks/session-streams.js';

/** What is used of a stream of node:http2. */
interface OpenStream {
  readonly headersSent: boolean;
  readonly state: { readonly remoteClose?: number | undefined };
}

/**
 * Whether all that is open on a session is requests that have not come to their end and were not answered: of a method that takes one
 * message, no handler has begun. Node offers no way to the streams of a session, and to count them would cost each call, so its own
 * bookkeeping is looked at. False with a version built otherwise.
 */
export function awaitsRequestsOnly(session: object): boolean {
  const streams = streamsOf<OpenStream>(session);
  return streams.length > 0 && streams.every(({ headersSent, state }) => !headersSent && state.remoteClose === 0);
}
