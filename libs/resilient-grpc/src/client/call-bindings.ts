import { boundToParent } from './call-arguments.js';
import type { GrpcCallOptions } from './resilient-types.js';

/** Who ended a call from outside, in grpc-js's words, and why. */
type Cancel = (details: string, cause: unknown) => void;

/** Ends a call with what its caller tied it to: an abort signal, an inbound call. Returns how to untie it, if there is anything. */
export function bindCall(options: GrpcCallOptions, cancel: Cancel): (() => void) | undefined {
  const { signal, parent } = options;
  const untie: (() => void)[] = [];
  if (signal !== undefined) {
    const onAbort = (): void => {
      cancel('Cancelled on client', signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    untie.push(() => {
      signal.removeEventListener('abort', onAbort);
    });
  }
  if (parent !== undefined && boundToParent(options)) {
    // grpc-js does this for an attempt that runs; a call may also wait.
    const inbound: NodeJS.EventEmitter = parent;
    const onCancelled = (): void => {
      cancel('Cancelled by parent call', undefined);
    };
    inbound.once('cancelled', onCancelled);
    untie.push(() => {
      inbound.removeListener('cancelled', onCancelled);
    });
  }
  if (untie.length === 0) return undefined;
  return () => {
    for (const task of untie) task();
  };
}
