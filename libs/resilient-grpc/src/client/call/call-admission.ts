import { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import { cancelled, draining, inboundCancelled, type CallFailure } from './call-failure.js';

/** Returns why a call must not start; `undefined` if it may. */
export function admissionFailure(
  context: MethodContext,
  deadline: number,
  signal: AbortSignal | undefined,
  inbound: AbortSignal | undefined,
): CallFailure | undefined {
  const { registry, clock } = context.client;
  switch (registry.accepting) {
    case 'closed':
      return { code: StatusCode.UNAVAILABLE, reason: 'closed', details: 'The client was closed' };
    case 'draining':
      return draining();
    case 'yes':
      break;
  }
  if (signal?.aborted === true) return cancelled('Cancelled on client', signal.reason);
  if (inbound?.aborted === true) return inboundCancelled(inbound.reason);
  // grpc-js would send the call anyway, and the server would execute it.
  if (deadline !== Infinity && deadline <= clock.epoch()) {
    const details = 'Deadline exceeded before the call began';
    return { code: StatusCode.DEADLINE_EXCEEDED, reason: 'deadline', details };
  }
  return undefined;
}
