import type { GrpcCallOptions } from '../resilient-types.js';
import { onAborted } from './abort-listeners.js';
import { boundToParent } from './call-arguments.js';
import { cancelled, inboundCancelled, type CallFailure } from './call-failure.js';

/** A call that can be ended from outside. */
export interface Endable {
  end(failure: CallFailure): void;
}

/**
 * Binds a call to an abort signal or an inbound call, either of which may end it. Returns a function that unbinds it; `undefined` if the
 * call is bound to nothing.
 */
export function bindCall(
  options: GrpcCallOptions | undefined,
  inbound: AbortSignal | undefined,
  call: Endable,
): (() => void) | undefined {
  if (options === undefined && inbound === undefined) return undefined;
  const { signal, parent } = options ?? {};
  const unbind: (() => void)[] = [];
  const bind = (to: AbortSignal, failure: () => CallFailure): void => {
    unbind.push(
      onAborted(to, () => {
        call.end(failure());
      }),
    );
  };
  if (signal !== undefined) bind(signal, () => cancelled('Cancelled on client', signal.reason));
  if (inbound !== undefined) bind(inbound, () => inboundCancelled(inbound.reason));
  if (options !== undefined && parent !== undefined && boundToParent(options)) {
    // grpc-js does this only for a running attempt, but a call may also be waiting.
    const inbound: NodeJS.EventEmitter = parent;
    const onCancelled = (): void => {
      call.end(cancelled('Cancelled by parent call', undefined));
    };
    inbound.once('cancelled', onCancelled);
    unbind.push(() => {
      inbound.removeListener('cancelled', onCancelled);
    });
  }
  if (unbind.length === 0) return undefined;
  return () => {
    for (const task of unbind) task();
  };
}
