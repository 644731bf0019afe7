import { types } from 'node:util';
import { reach } from './seam.js';

/** The streams of a session of `node:http2` that Node has not destroyed; empty if this Node keeps them otherwise. */
export function streamsOf<T>(session: object): readonly T[] {
  const streams = reach(session, '[state].streams');
  // A map of Node's own, which is no instance of `Map`. True: it keeps them by their ids.
  return types.isMap(streams) ? [...(streams as ReadonlyMap<number, T>).values()] : [];
}
