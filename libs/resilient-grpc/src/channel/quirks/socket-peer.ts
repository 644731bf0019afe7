import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';

/**
 * True if the kernel has no peer for `socket`, even if Node has not reported the end yet; false if this release of Node cannot query the
 * kernel. `remoteAddress` is no substitute, because Node caches its first value.
 */
export function isReset(socket: Socket): boolean {
  // Safe for the supported releases of Node. Other releases may lack these fields, hence the optional chaining.
  const { _handle: handle } = socket as unknown as {
    readonly _handle?: { getpeername?(out: object): number } | null;
  };
  const failure = handle?.getpeername?.({}) ?? 0;
  return failure < 0 && getSystemErrorName(failure) === 'ENOTCONN';
}
