import { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import { cancelled, draining, inboundCancelled, type CallFailure } from './call-failure.js';

/** Why a call may not even begin; undefined: it may. */
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
  // grpc-js would send it all the same, and the server would run it.
  if (deadline !== Infinity && deadline <= clock.epoch()) {
    const details = 'Deadline exceeded before the call began';
    return { code: StatusCode.DEADLINE_EXCEEDED, reason: 'deadline', details };
  }
  return undefined;
}
