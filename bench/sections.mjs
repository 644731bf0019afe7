import { compare, outlineOfComparison } from './compare.mjs';
import { describeMachine } from './machine.mjs';
import { measureOverload, outlineOfOverload } from './overload/measure.mjs';
import { measurePackages, outlineOfPackages } from './packages/measure.mjs';
import { measureFirstCalls, outlineOfFirstCalls } from './processes/first-call.mjs';
import { measureOpenStreamsOfAll, outlineOfOpenStreams } from './processes/open-streams.mjs';
import { measureSlowReadersOfAll, outlineOfSlowReaders } from './processes/slow-readers.mjs';
import { measureRecovery, outlineOfRecovery } from './recovery/measure.mjs';
import { measureServers, outlineOfServers } from './servers/measure.mjs';

/** @typedef {import('./arguments.mjs').SectionPlan} SectionPlan */

/**
 * @param {SectionPlan} plan
 * @returns {Promise<import('./report.mjs').Section | undefined>} `undefined` for a profile.
 */
export async function measure(plan) {
  const rows = await rowsOf(plan);
  if (rows === undefined) return undefined;
  const present = plan.entries.filter(({ name }) => rows.some(({ contender }) => contender === name));
  return { ...outlineOf(plan), machine: describeMachine(present), rows };
}

/**
 * @param {SectionPlan} plan
 * @returns {import('./report.mjs').Outline} The section without its measurements.
 */
export function outlineOf(plan) {
  switch (plan.bench) {
    case 'open-streams':
      return outlineOfOpenStreams(plan);
    case 'slow-readers':
      return outlineOfSlowReaders(plan);
    case 'recovery':
      return outlineOfRecovery(plan);
    case 'first-call':
      return outlineOfFirstCalls(plan);
    case 'package':
      return outlineOfPackages(plan);
    case 'server':
      return outlineOfServers(plan);
    case 'overload':
      return outlineOfOverload(plan);
    default:
      return outlineOfComparison(plan);
  }
}

/**
 * @param {SectionPlan} plan
 * @returns {Promise<readonly import('./report.mjs').Row[] | undefined>}
 */
async function rowsOf(plan) {
  switch (plan.bench) {
    case 'open-streams':
      return measureOpenStreamsOfAll(plan);
    case 'slow-readers':
      return measureSlowReadersOfAll(plan);
    case 'recovery':
      return measureRecovery(plan);
    case 'first-call':
      return measureFirstCalls(plan);
    case 'package':
      return measurePackages(plan);
    case 'server':
      return measureServers(plan);
    case 'overload':
      return measureOverload(plan);
    default:
      return compare(plan);
  }
}
