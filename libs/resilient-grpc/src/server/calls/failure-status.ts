import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { serverStatusOf } from '../errors/server-status.js';
import type { StatusLike } from './served-method.js';

/** Returns the status of a failed handler. Logs errors that are not gRPC errors, because their details are not sent to the caller. */
export function failureStatus(
  error: unknown,
  path: string,
  events: EventHub<GrpcServerEvent>,
  filtered: boolean,
): StatusLike {
  const { unexpected, ...status } = serverStatusOf(error, filtered);
  if (unexpected === true && events.wanted) events.emit({ type: 'handler-failed', path, error });
  return status;
}
