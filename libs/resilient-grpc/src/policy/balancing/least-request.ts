import type { EndpointLoad } from './endpoint-load.js';

/** Name of `least_request` in service configs (gRFC A48). */
export const LEAST_REQUEST_POLICY_NAME = 'least_request_experimental';

/** Default number of endpoints to compare (gRFC A48). */
const DEFAULT_CHOICE_COUNT = 2;
/** Maximum number of endpoints to compare; larger values are reduced to it (gRFC A48). */
const MAX_CHOICE_COUNT = 10;

/**
 * Reads `choiceCount`, the number of endpoints to compare, from the config of `least_request_experimental`.
 *
 * @throws Error if the value is invalid
 */
export function parseChoiceCount(config: unknown): number {
  if (typeof config !== 'object' || config === null)
    throw new Error(`expected an object, got ${JSON.stringify(config)}; write { choiceCount: 2 }`);
  const { choiceCount = DEFAULT_CHOICE_COUNT } = config as { readonly choiceCount?: unknown };
  if (!Number.isInteger(choiceCount) || (choiceCount as number) < 2)
    throw new Error(`choiceCount: expected an integer of 2 or more, got ${JSON.stringify(choiceCount)}`);
  return Math.min(choiceCount as number, MAX_CHOICE_COUNT);
}

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
