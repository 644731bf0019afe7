import { types } from 'node:util';
import { reach } from '../../channel/quirks/seam.js';

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
  const streams = streamsOf(session);
  return streams.length > 0 && streams.every(({ headersSent, state }) => !headersSent && state.remoteClose === 0);
}

function streamsOf(session: object): readonly OpenStream[] {
  const streams = reach(session, '[state].streams');
  // A map of Node's own, which is no instance of `Map`. True: it keeps them by their ids.
  return types.isMap(streams) ? [...(streams as ReadonlyMap<number, OpenStream>).values()] : [];
}
