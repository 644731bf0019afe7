// What does a call cost? CPU per call and throughput of ours next to grpc-js's own client and three others, in one process,
// in turns, against a server in another process. And what is held, see memory/; what it costs a server, see servers/. It prints
// and judges nothing.
import { USAGE, UsageError, parsePlan } from './arguments.mjs';
import { describeMachine } from './machine.mjs';
import { measureBounds } from './memory/bounds.mjs';
import { measureOpenStreams } from './memory/many-streams.mjs';
import { toJson, toTable } from './report.mjs';
import { lengthOfRun, profile, runRounds } from './rounds.mjs';
import { startServer } from './server.mjs';
import { measureServers } from './servers/measure.mjs';
import { rehearse } from './workloads.mjs';

/** @typedef {import('./arguments.mjs').Comparison} Comparison */
/** @typedef {import('./arguments.mjs').Plan} Plan */
/** @typedef {import('./contenders.mjs').Contender} Contender */
/** @typedef {import('./contenders.mjs').Entry} Entry */

try {
  await run(parsePlan(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}

/** @param {Plan} plan */
async function run(plan) {
  switch (plan.bench) {
    case 'memory':
      return measureBounds(plan);
    case 'many-streams':
      return measureOpenStreams(plan);
    case 'server':
      return measureServers(plan);
    default:
      return runContenders(plan);
  }
}

/** @param {Comparison} plan */
async function runContenders(plan) {
  const server = await startServer();
  /** @type {Map<string, Contender>} */
  const open = new Map();
  try {
    const present = [];
    for (const entry of plan.entries) {
      const contender = await openContender(entry, server.address);
      if (contender === undefined) continue;
      open.set(entry.name, contender);
      present.push(entry);
      await rehearse(contender).catch((/** @type {unknown} */ error) => {
        throw new Error(`${entry.name} does not do what it should`, { cause: error });
      });
    }
    if (plan.profile) await profile(open, plan.workloads, plan.seconds);
    else await compare(plan, present, open);
  } finally {
    for (const contender of open.values()) await contender.close();
    server.stop();
  }
}

/**
 * @param {Entry} entry
 * @param {string} address
 * @returns {Promise<Contender | undefined>} Nothing where its package cannot be loaded: the others can still be compared.
 */
async function openContender(entry, address) {
  let loaded;
  try {
    loaded = await entry.load();
  } catch (error) {
    console.error(`${entry.name} is left out: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  return loaded.open(address);
}

/**
 * @param {Comparison} plan
 * @param {readonly Entry[]} present
 * @param {ReadonlyMap<string, Contender>} open
 */
async function compare({ bench, baseline, workloads, rounds, seconds, json }, present, open) {
  const length = lengthOfRun(open.size, workloads.length, { rounds, seconds });
  console.error(`${bench}: ${[...open.keys()].join(', ')}; about ${length.toFixed(0)} s`);
  const size = { rounds, seconds, baseline };
  const results = await runRounds(open, workloads, size);
  const machine = describeMachine(present);
  console.log(json ? toJson(bench, machine, results) : toTable(machine, results, size));
}
