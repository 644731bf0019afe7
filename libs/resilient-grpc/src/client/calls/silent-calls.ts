import type { Connectivity } from '../../call/connectivity.js';
import { moment, type Clock } from '../../time/clock.js';
import type { OpenCall } from './unanswered-calls.js';

/** Time in milliseconds for which a unary call must have waited, and its connection must have received nothing. */
const SILENT_AFTER_MS = 10_000;

/**
 * Returns the unary calls that wait for an answer on connections that are there and receive nothing, as those to a frozen server.
 *
 * @param calls open calls, in the order in which they started
 * @param silentMs returns for how long the connection to `peer` has received nothing while a call ran that started at `startedAt`
 */
export function silenceOf(
  calls: Iterable<OpenCall>,
  silentMs: (peer: string, startedAt: number) => number | undefined,
  clock: Clock,
): Pick<Connectivity, 'silence'> {
  const now = clock.now();
  let count = 0;
  let longestMs = 0;
  for (const call of calls) {
    if (now - call.startedAt < SILENT_AFTER_MS) break;
    if (call.kind !== 'unary' || call.waiting === true) continue;
    const { peer } = call.describe();
    const ms = peer === undefined ? 0 : (silentMs(peer, call.startedAt) ?? 0);
    if (ms < SILENT_AFTER_MS) continue;
    count += 1;
    longestMs = Math.max(longestMs, ms);
  }
  return count === 0 ? {} : { silence: { since: moment(clock.epoch() - longestMs), calls: count } };
}
