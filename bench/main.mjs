// What does it cost to call by this library, and what is it worth? Ours next to grpc-js's own client and three others, and to
// node:http2 as the floor. Each benchmark asks one question and says how it was answered; none judges.
import { USAGE, UsageError, parsePlan } from './arguments.mjs';
import { compare } from './compare.mjs';
import { measureBounds } from './memory/bounds.mjs';
import { measureOpenStreams } from './memory/many-streams.mjs';
import { overallJson, overallTable } from './overall.mjs';
import { measurePackages } from './packages/measure.mjs';
import { measureFirstCalls } from './processes/first-call.mjs';
import { measureOpenStreamsOfAll } from './processes/open-streams.mjs';
import { measureSlowReadersOfAll } from './processes/slow-readers.mjs';
import { measureRecovery } from './recovery/measure.mjs';
import { toJson, toTable } from './report.mjs';
import { measureServers } from './servers/measure.mjs';

try {
  await run(parsePlan(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}

/** @param {import('./arguments.mjs').Plan} plan */
async function run(plan) {
  switch (plan.bench) {
    case 'memory':
      return measureBounds(plan);
    case 'many-streams':
      return measureOpenStreams(plan);
    case 'all':
      return runAll(plan);
    default: {
      const section = await measure(plan);
      if (section === undefined) return;
      console.log(plan.json ? JSON.stringify(toJson(section), null, 2) : toTable(section));
    }
  }
}

/** @param {import('./arguments.mjs').OverallPlan} plan */
async function runAll({ plans, json }) {
  const beganAt = performance.now();
  const sections = [];
  for (const plan of plans) {
    const section = await measure(plan);
    if (section !== undefined) sections.push(section);
  }
  const minutes = (performance.now() - beganAt) / 60_000;
  console.log(json ? JSON.stringify(overallJson(sections, minutes), null, 2) : overallTable(sections, minutes));
}

/**
 * @param {import('./arguments.mjs').SectionPlan} plan
 * @returns {Promise<import('./report.mjs').Section | undefined>} Nothing where there was no comparison.
 */
async function measure(plan) {
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
    default:
      return compare(plan);
  }
}
