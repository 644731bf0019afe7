import type { EndpointLoad } from './endpoint-load.js';

type Load = Pick<EndpointLoad, 'inFlight' | 'latencyMs'>;

/**
 * Selects the endpoint for an attempt: draws `choiceCount` endpoints at random and returns the least loaded one ("power of two choices").
 * The load is the average latency times the number of attempts in flight, including the new one. A choice among all endpoints would send
 * the calls of all clients to the same endpoint.
 *
 * @param loads at least one
 * @param now monotonic milliseconds
 * @returns the index in `loads`
 */
export function chooseLeastLoaded(
  loads: readonly Load[],
  choiceCount: number,
  random: () => number,
  now: number,
): number {
  const { length } = loads;
  let drawn = Math.floor(random() * length);
  let best = drawn;
  if (length === 1) return best;
  for (let draws = 1; draws < choiceCount; draws++) {
    // Excludes the endpoint of the previous draw, so that two draws compare two endpoints.
    drawn = (drawn + 1 + Math.floor(random() * (length - 1))) % length;
    // The casts are safe: both indexes are valid.
    if (isLessLoaded(loads[drawn] as Load, loads[best] as Load, now)) best = drawn;
  }
  return best;
}

function isLessLoaded(a: Load, b: Load, now: number): boolean {
  const latencyOfA = a.latencyMs(now);
  const latencyOfB = b.latencyMs(now);
  // Compares only the attempts in flight if an endpoint is new and has no latency yet. With an assumed latency, the endpoint would receive
  // all calls, or none.
  if (latencyOfA === undefined || latencyOfB === undefined) return a.inFlight < b.inFlight;
  return latencyOfA * (a.inFlight + 1) < latencyOfB * (b.inFlight + 1);
}
