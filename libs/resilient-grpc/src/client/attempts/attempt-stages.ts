import type { StartAttempt } from '../../call/attempt.js';
import type { MethodContext } from '../call-context.js';
import { inOrigin, type CallOrigin } from '../call/call-origin.js';
import type { OutgoingCall } from '../interceptors/outgoing-call.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { withPreparation, type OpenCall } from './prepared-attempt.js';

/** How the attempts of one call begin: as its method's do, unless the call names something of its own. */
export function attemptStages(
  { start, startWithin, parts, client }: MethodContext,
  options: GrpcCallOptions | undefined,
  outgoing: OutgoingCall | undefined,
  call: OpenCall,
  origin: CallOrigin | undefined,
): StartAttempt {
  const stages = options === undefined ? start : stagesWithin(start, startWithin, options);
  if (outgoing === undefined || parts === undefined) return stages;
  const prepared = withPreparation(stages, outgoing, parts, client, call);
  // A further attempt begins in the context of a timer, or of a connection.
  return origin === undefined ? prepared : (request, listener) => inOrigin(origin, () => prepared(request, listener));
}

function stagesWithin(
  start: StartAttempt,
  startWithin: MethodContext['startWithin'],
  { attemptTimeoutMs, streamIdleTimeoutMs }: GrpcCallOptions,
): StartAttempt {
  if (attemptTimeoutMs === undefined && streamIdleTimeoutMs === undefined) return start;
  return startWithin({
    ...(attemptTimeoutMs === undefined ? {} : { attemptTimeoutMs }),
    ...(streamIdleTimeoutMs === undefined ? {} : { streamIdleTimeoutMs }),
  });
}
