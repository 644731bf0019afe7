import { Fleet } from './fleet.mjs';
import { SAMPLE_MS } from './meter.mjs';
import { figuresOf } from './figures.mjs';

/** @typedef {import('./fleet.mjs').World} World */
/** @typedef {import('./meter.mjs').Meter} Meter */
/** @typedef {import('./policies.mjs').Policy} Policy */
/** @typedef {import('./scenarios.mjs').Fault} Fault */

/**
 * The result of one policy.
 *
 * @typedef {object} Result
 * @property {Policy} policy
 * @property {Meter} meter
 * @property {import('./figures.mjs').Figures} figures
 */

/** Default parameters: 20% spare capacity, and a queue that is shorter than the deadlines. */
export const DEFAULT_WORLD = {
  patienceMs: 2_000,
  servers: 1,
  capacity: 1.2,
  serverKind: /** @type {import('./server.mjs').ServerKind} */ ('bounded'),
  queueMs: 1_000,
  shedCost: 0.1,
  handshakeCost: 3,
  latencyMs: 5,
  seed: 1,
};

/**
 * Simulates `faults` for a fleet with one policy.
 *
 * @param {World} world
 * @param {Policy} policy
 * @param {readonly Fault[]} faults
 * @param {number} seconds
 * @returns {Result}
 */
export function simulate(world, policy, faults, seconds) {
  const lengthMs = seconds * 1_000;
  const fleet = new Fleet(world, policy, lengthMs + world.patienceMs);
  for (const fault of faults) {
    fleet.clock.runAt(fault.from, () => {
      fleet.meter.faultBegins();
      fault.begin(fleet);
    });
    fleet.clock.runAt(fault.to, () => {
      fault.end(fleet);
      fleet.meter.faultOver(fault.to);
    });
  }
  fleet.startTraffic();
  fleet.clock.run(lengthMs + world.patienceMs);
  // Counts only calls that started within `seconds`. The simulation runs longer by `patienceMs`, so that the last of these calls can
  // finish.
  const samples = Math.floor(lengthMs / SAMPLE_MS);
  return { policy, meter: fleet.meter, figures: figuresOf(fleet.meter, faults, samples) };
}
