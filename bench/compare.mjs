// What does a call cost, and a message? CPU, latency and throughput of contenders in turns, in one process, against a server in
// another.
import { lengthOfRun, profile, runRounds } from './rounds.mjs';
import { startServer } from './server.mjs';
import { rehearse } from './workloads.mjs';

/** @typedef {import('./contenders.mjs').Contender} Contender */
/** @typedef {import('./contenders.mjs').Entry} Entry */
/** @typedef {import('./report.mjs').Figure} Figure */
/** @typedef {import('./report.mjs').Row} Row */
/** @typedef {import('./rounds.mjs').Result} Result */

/**
 * Contenders in turns.
 *
 * @typedef {object} Comparison
 * @property {keyof typeof QUESTIONS} bench
 * @property {readonly Entry[]} entries
 * @property {string} baseline All ratios are to this entry.
 * @property {readonly import('./workloads.mjs').Workload[]} workloads
 * @property {number} rounds
 * @property {number} seconds
 * @property {boolean} json
 * @property {boolean} profile The only entry alone, instead of rounds.
 */

const QUESTIONS = {
  unary: 'What does a call cost, and how long does it take?',
  stream: 'What does a message of a server stream cost, and how many come through?',
  upload: 'What does a message of a client stream cost, and how many go through?',
  bidi: 'What does a message cost that goes there and back on one stream, and how many do?',
  telemetry: 'What does it cost a call that somebody looks on?',
};

/**
 * @param {Comparison} plan
 * @returns {import('./report.mjs').Outline}
 */
export function outlineOfComparison({ bench, entries, workloads, rounds, seconds, baseline }) {
  return outlineOfRounds({ bench, question: QUESTIONS[bench], entries, workloads, rounds, seconds, baseline });
}

/**
 * @param {Comparison} plan
 * @returns {Promise<readonly Row[] | undefined>} Nothing where a contender was alone.
 */
export async function compare(plan) {
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
    if (plan.profile) {
      await profile(open, plan.workloads, plan.seconds);
      return undefined;
    }
    return await inTurns(plan, present, open);
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
async function inTurns({ bench, baseline, workloads, rounds, seconds }, present, open) {
  const length = lengthOfRun(open.size, workloads.length, { rounds, seconds });
  console.error(`${bench}: ${[...open.keys()].join(', ')}; about ${length.toFixed(0)} s`);
  const peers = new Map(present.flatMap(({ name, peer }) => (peer === undefined ? [] : [[name, peer]])));
  return rowsOf(await runRounds(open, workloads, { rounds, seconds, baseline, peers }));
}

/**
 * @param {object} of
 * @param {string} of.bench
 * @param {string} of.question
 * @param {readonly Partial<Pick<Entry, 'name' | 'about' | 'peer'>>[]} of.entries
 * @param {readonly import('./workloads.mjs').Workload[]} of.workloads At least one.
 * @param {number} of.rounds
 * @param {number} of.seconds
 * @param {string} of.baseline
 * @returns {import('./report.mjs').Outline}
 */
export function outlineOfRounds({ bench, question, entries, workloads, rounds, seconds, baseline }) {
  const [workload] = workloads;
  const unit = workload?.unit ?? 'call';
  return {
    bench,
    question,
    how: [
      `medians of ${String(rounds)} rounds of ${String(seconds)} s`,
      `ratios are to ${baseline} in the same round`,
      ...entries.flatMap(({ name, about }) => (about === undefined ? [] : [`${String(name)}: ${about}`])),
    ].join('; '),
    varied: workload !== undefined && 'size' in workload.key ? SIZE : IN_FLIGHT,
    figures: figuresOf(
      unit,
      entries.some(({ peer }) => peer !== undefined),
    ),
  };
}

/**
 * @param {readonly Result[]} results
 * @returns {readonly Row[]}
 */
export function rowsOf(results) {
  return results.map(
    ({ contender, workload: { key, unit }, cpuUs, cpuRatio, cpuRatioQuartiles, perSecond, ...more }) => ({
      contender,
      ...key,
      cpuPerCallUs: cpuUs,
      cpuRatio,
      cpuRatioQuartiles,
      perSecond,
      throughputRatio: more.throughputRatio,
      ...(unit === 'call' && { p50Ms: more.p50Ms, p99Ms: more.p99Ms }),
      ...(more.peer !== undefined && { peer: more.peer, peerCpuRatio: more.peerCpuRatio }),
    }),
  );
}

/** @type {import('./report.mjs').Varied} */
const IN_FLIGHT = { name: 'inFlight', title: 'calls', label: (value) => `${String(value)} in flight` };

/** @type {import('./report.mjs').Varied} */
const SIZE = {
  name: 'size',
  title: 'messages',
  label: (value) => (Number(value) < 1_024 ? `${String(value)} B` : `${String(Number(value) / 1_024)} KiB`),
};

/**
 * @param {'call' | 'message'} unit
 * @param {boolean} peers Whether anybody has one.
 * @returns {readonly Figure[]}
 */
function figuresOf(unit, peers) {
  return [
    { name: 'cpuPerCallUs', title: `CPU µs/${unit}`, digits: 1 },
    { name: 'cpuRatio', title: 'CPU ratio', digits: 2 },
    { name: 'cpuRatioQuartiles', title: 'quartiles', digits: 2, alone: true },
    ...(peers
      ? [
          { name: 'peerCpuRatio', title: 'CPU ratio to peer', digits: 2 },
          { name: 'peer', title: 'peer', digits: 0, alone: true },
        ]
      : []),
    ...(unit === 'call'
      ? [
          { name: 'p50Ms', title: 'p50 ms', digits: 2 },
          { name: 'p99Ms', title: 'p99 ms', digits: 2 },
        ]
      : []),
    { name: 'perSecond', title: `${unit}s/s`, digits: 0, alone: unit === 'call' },
    { name: 'throughputRatio', title: 'throughput ratio', digits: 2, alone: unit === 'call' },
  ];
}
