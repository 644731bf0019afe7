import type { CallLoad, LoadCall } from '../../support/call-load.js';
import type { OrdersOf } from '../../support/orders-app.js';
import type { Measured } from './situation.js';

/** As its error may come before the channel tells. */
const BEFORE_TOLD_MS = 20;

/** When the connections of a client were lost, in milliseconds since 1970; more are added as it goes. */
export function lostConnections({ client }: OrdersOf): readonly number[] {
  const lostAt: number[] = [];
  client.events$.subscribe((event) => {
    if (event.type === 'connectivity' && event.from === 'READY') lostAt.push(event.at);
  });
  return lostAt;
}

/** Of the writes that failed, those that were under way when a connection was lost, and the others. */
export function failedWrites({ calls, failed }: CallLoad, lostAt: readonly number[]): Measured {
  const wasOnTheWire = ({ startedAt, endedAt = 0 }: LoadCall) =>
    lostAt.some((at) => startedAt <= at && endedAt >= at - BEFORE_TOLD_MS);
  return {
    writes: calls.length,
    'writes failed on the wire': failed.filter(wasOnTheWire).length,
    'writes failed that were not on the wire': failed.filter((call) => !wasOnTheWire(call)).length,
  };
}
