import type { GrpcCallError } from 'nestjs-resilient-grpc';
import type { CallLoad, LoadCall } from '../../support/call-load.js';
import type { OrdersOf } from '../../support/orders-app.js';
import type { Measured } from './scenario.js';

/** Maximum time by which the error of a call may precede the event of its channel on a busy machine. */
const BEFORE_EVENT_MS = 250;

/** Times at which the channel of a client left READY, in milliseconds since 1970; the array grows while the client runs. */
export function lostConnections({ client }: OrdersOf): readonly number[] {
  const lostAt: number[] = [];
  client.events$.subscribe((event) => {
    if (event.type === 'connectivity' && event.from === 'READY') lostAt.push(event.at);
  });
  return lostAt;
}

/** Counts failed writes by cause: lost with their connection, or other. */
export function failedWrites({ calls, failed }: CallLoad, lostAt: readonly number[]): Measured {
  const wasOnTheWire = ({ startedAt, endedAt = 0, error }: LoadCall) => {
    // The cast is safe because calls fail only with GrpcCallError.
    const { reason, reachedServer } = error as GrpcCallError;
    // 'yes' means that the response had started.
    const isLost = reason === 'connection-lost' && reachedServer !== 'no';
    return isLost && lostAt.some((at) => startedAt <= at && endedAt >= at - BEFORE_EVENT_MS);
  };
  const otherFailures = failed.filter((call) => !wasOnTheWire(call));
  return {
    writes: calls.length,
    'failed writes that were on the wire': failed.filter(wasOnTheWire).length,
    'failed writes that were not on the wire': otherFailures.length,
    ...(otherFailures[0] && { 'first such failure': String(otherFailures[0].error) }),
  };
}
