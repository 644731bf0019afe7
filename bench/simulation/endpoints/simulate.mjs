import { peakOf } from '../figures.mjs';
import { SAMPLE_MS } from '../meter.mjs';
import { EndpointFleet } from './fleet.mjs';

/** @typedef {import('./fleet.mjs').EndpointWorld} EndpointWorld */
/** @typedef {import('./policies.mjs').EndpointPolicy} EndpointPolicy */
/** @typedef {import('./scenarios.mjs').EndpointScenario} EndpointScenario */

/** @type {EndpointWorld} */
export const DEFAULT_ENDPOINT_WORLD = {
  clients: 1_000,
  callsPerSecond: 10,
  endpoints: 50,
  patienceMs: 2_000,
  attemptTimeoutMs: 500,
  seed: 1,
};

const SAMPLES_PER_SECOND = 1_000 / SAMPLE_MS;
/** Seconds from the start of a fault until the library's guarantees apply. */
const REACTION_SECONDS = 2;

/**
 * The figures of one policy. Shares are between 0 and 1. Times are in seconds after the start of the fault.
 *
 * @typedef {object} EndpointFigures
 * @property {number} failedAtOnce Share of failures among the calls that start in the first 2 s of the fault.
 * @property {number} failed Share of failures among the calls that start later in the fault.
 * @property {number} failedAfter Share of failures among the calls that start after the fault.
 * @property {number} p99Before p99 in milliseconds of the calls that start before the fault, including failed calls.
 * @property {number} p99 p99 in milliseconds of the calls that start later in the fault, including failed calls.
 * @property {number} ejected Share of (client, watched endpoint) pairs in which the client ejected the endpoint during the fault.
 * @property {number | undefined} ejectedAfter Median time of the first ejections.
 * @property {readonly [number, number] | undefined} returned 5th and 95th percentiles of the times of the first returns.
 * @property {number} peak Maximum mean load on the watched endpoints, relative to their fair share, after the first return or the end of
 *   the fault, whichever is later.
 * @property {number} shareAfter Maximum mean load on the watched endpoints, relative to their fair share, from 1 to 2 s after the fault.
 * @property {number} minInUse Smallest number of endpoints that any client used.
 * @property {number} falseEjections Number of ejections of endpoints that are not watched.
 * @property {number} unhealthyAttempts Attempts on unhealthy endpoints as a share of all attempts.
 * @property {readonly { readonly number: number, readonly count: number, readonly seconds: number }[]} ejections Count and mean duration of
 *   the ejections of watched endpoints, one row for each ejection multiplier (`number`).
 */

/**
 * Simulates a scenario with one policy.
 *
 * @param {EndpointWorld} world
 * @param {EndpointPolicy} policy
 * @param {EndpointScenario} scenario
 * @param {number} [seconds]
 */
export function simulateEndpoints(world, policy, scenario, seconds = scenario.seconds) {
  const watched = scenario.watched(world.endpoints);
  const fleet = new EndpointFleet(world, policy, watched);
  for (const { at, apply } of scenario.changes(world.endpoints)) fleet.clock.runAt(at, () => apply(fleet));
  fleet.clock.run(seconds * 1_000 + world.patienceMs);
  return {
    policy,
    meter: fleet.meter,
    figures: figuresOf(fleet.meter, scenario.fault, seconds, world, watched.length),
  };
}

/**
 * @param {import('./meter.mjs').EndpointMeter} meter
 * @param {EndpointScenario['fault']} fault
 * @param {number} seconds
 * @param {EndpointWorld} world
 * @param {number} watched
 * @returns {EndpointFigures}
 */
function figuresOf(meter, { from, to }, seconds, { clients }, watched) {
  const { ejections, returns } = meter;
  const firsts = ejections.filter(({ at, number }) => number === 1 && at < to * 1_000);
  const times = firsts.map(({ at }) => at / 1_000 - from).sort((a, b) => a - b);
  const returned = returns.slice(0, firsts.length).map(({ at }) => at / 1_000 - from);
  const backAt = Math.max(returned.length > 0 ? from + returned[0] : 0, to);
  const later = meter.between(from + REACTION_SECONDS, to);
  return {
    failedAtOnce: meter.between(from, from + REACTION_SECONDS).failed,
    failed: later.failed,
    failedAfter: meter.between(to, seconds).failed,
    p99Before: meter.between(0, from).p99Ms,
    p99: later.p99Ms,
    ejected: firsts.length / Math.max(clients * watched, 1),
    ejectedAfter: at(times, 0.5),
    returned: returned.length === 0 ? undefined : [at(returned, 0.05), at(returned, 0.95)],
    peak: peakOf(meter, Math.floor(backAt * SAMPLES_PER_SECOND), seconds * SAMPLES_PER_SECOND),
    shareAfter: peakOf(
      meter,
      (to + REACTION_SECONDS - 1) * SAMPLES_PER_SECOND,
      (to + REACTION_SECONDS) * SAMPLES_PER_SECOND,
    ),
    minInUse: meter.minInUse,
    falseEjections: meter.falseEjections,
    unhealthyAttempts: meter.unhealthyAttempts / Math.max(meter.attempts, 1),
    ejections: byNumber(ejections),
  };
}

/**
 * @param {readonly number[]} sorted
 * @param {number} share
 */
function at(sorted, share) {
  return sorted[Math.floor(share * (sorted.length - 1))];
}

/**
 * Returns the count and the mean duration of the ejections, one row for each ejection multiplier (`number`).
 *
 * @param {import('./meter.mjs').EndpointMeter['ejections']} ejections
 */
function byNumber(ejections) {
  /** @type {{ number: number, count: number, seconds: number }[]} */
  const rows = [];
  for (const { number, forMs } of ejections) {
    const row = (rows[number - 1] ??= { number, count: 0, seconds: 0 });
    row.count += 1;
    row.seconds += (forMs / 1_000 - row.seconds) / row.count;
  }
  return rows;
}
