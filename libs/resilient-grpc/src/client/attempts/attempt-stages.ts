import type { StartAttempt } from '../../call/attempt.js';
import type { AttemptBounds, MethodContext } from '../call-context.js';
import { inOrigin, type CallerContext } from '../call/caller-context.js';
import type { OutgoingCall } from '../interceptors/outgoing-call.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { STAGE_OPTIONS } from '../settings/method-options.js';
import { withPreparation, type CallLiveness } from './prepared-attempt.js';

/** Returns the function that starts the attempts of one call: that of its method, unless the call overrides a timeout or is intercepted. */
export function attemptStages(
  { start, startWithin, parts, client }: MethodContext,
  options: GrpcCallOptions | undefined,
  outgoing: OutgoingCall | undefined,
  call: CallLiveness,
  origin: CallerContext | undefined,
): StartAttempt {
  const stages = options === undefined ? start : stagesWithin(start, startWithin, options);
  if (outgoing === undefined || parts === undefined) return stages;
  const prepared = withPreparation(stages, outgoing, parts, client, call);
  // A further attempt starts in the async context of a timer or a connection.
  return origin === undefined ? prepared : (request, listener) => inOrigin(origin, () => prepared(request, listener));
}

function stagesWithin(
  start: StartAttempt,
  startWithin: MethodContext['startWithin'],
  options: GrpcCallOptions,
): StartAttempt {
  for (const key of STAGE_OPTIONS) {
    if (options[key] === undefined) continue;
    const own = STAGE_OPTIONS.filter((one) => options[one] !== undefined).map((one) => [one, options[one]]);
    // The keys are those of AttemptBounds.
    return startWithin(Object.fromEntries(own) as AttemptBounds);
  }
  return start;
}
