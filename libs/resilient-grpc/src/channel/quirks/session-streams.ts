import { types } from 'node:util';
import { reach } from './seam.js';

/** Returns the streams of a `node:http2` session that Node has not destroyed; empty if this Node stores them elsewhere. */
export function streamsOf<T>(session: object): readonly T[] {
  const streams = reach(session, '[state].streams');
  // Node uses an internal map class, which is not an instance of `Map`. Safe: it stores the streams by id.
  return types.isMap(streams) ? [...(streams as ReadonlyMap<number, T>).values()] : [];
}
