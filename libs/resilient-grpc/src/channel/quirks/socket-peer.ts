import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';

/**
 * True if the kernel has no peer for `socket`, whether Node has noticed or not; false if it cannot be asked. `remoteAddress` says the
 * same only until it is read for the first time, and repeats that answer from then on.
 */
export function isSevered(socket: Socket): boolean {
  // True at every Node this was written for; another may differ, hence the question marks.
  const { _handle: handle } = socket as unknown as {
    readonly _handle?: { getpeername?(out: object): number } | null;
  };
  const failure = handle?.getpeername?.({}) ?? 0;
  return failure < 0 && getSystemErrorName(failure) === 'ENOTCONN';
}
