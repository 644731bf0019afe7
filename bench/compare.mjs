// Measures the CPU, latency, and throughput of calls and messages. Contenders take turns, each in a separate process, because in a shared
// process, the hidden classes and garbage of each would affect the others. Several sets of processes run one after another, because
// compilation and garbage collection differ from process to process.
import { withContenders } from './processes/contender.mjs';
import { lengthOfRun, profile, summarize, takeRounds } from './rounds.mjs';
import { startServer } from './server.mjs';
import { rehearse } from './workloads.mjs';

/** @typedef {import('./contenders.mjs').Contender} Contender */
/** @typedef {import('./contenders.mjs').Entry} Entry */
/** @typedef {import('./report.mjs').Figure} Figure */
/** @typedef {import('./report.mjs').Row} Row */
/** @typedef {import('./rounds.mjs').Result} Result */

/**
 * A comparison of contenders that take turns.
 *
 * @typedef {object} Comparison
 * @property {keyof typeof QUESTIONS} bench
 * @property {readonly Entry[]} entries
 * @property {string} baseline Name of the entry to which all ratios except the ratio to a peer are relative.
 * @property {readonly import('./workloads.mjs').Workload[]} workloads
 * @property {number} rounds
 * @property {number} seconds
 * @property {boolean} json
 * @property {boolean} profile True to run one entry for a CPU profile, without rounds.
 */

/** Number of process sets. The rounds are distributed over them. */
const SETS = 3;

/**
 * Node flag for streams: the initial size of the old space in MiB. Without the flag, V8 lowers the heap limit of these small processes
 * until large messages cause continuous marking. From that point, which differs between processes, a message costs five times as much.
 * Unary calls run without this flag, as in a service. With the flag, V8 would not collect the old space here, and the figures would
 * include the cost of the objects that Node keeps per request.
 */
const OLD_SPACE_FLAG = '--initial-old-space-size=512';

const QUESTIONS = {
  unary: 'What does a call cost, and how long does it take?',
  stream: 'What does a message of a server stream cost, and how many are received per second?',
  upload: 'What does a message of a client stream cost, and how many are sent per second?',
  bidi: 'What does an echoed message on a bidirectional stream cost, and how many are echoed per second?',
  telemetry: 'What does telemetry add to the cost of a call?',
};

/**
 * @param {Comparison} plan
 * @returns {import('./report.mjs').Outline}
 */
export function outlineOfComparison({ bench, entries, workloads, rounds, seconds, baseline }) {
  const flags = flagsFor(workloads)
    .map((flag) => ` (node ${flag})`)
    .join('');
  const apart = `in ${String(Math.min(SETS, rounds))} separate processes, one after another${flags}`;
  return outlineOfRounds({ bench, question: QUESTIONS[bench], entries, workloads, rounds, seconds, baseline, apart });
}

/**
 * @param {Comparison} plan
 * @returns {Promise<readonly Row[] | undefined>} `undefined` for a profile.
 */
export async function compare(plan) {
  const server = await startServer();
  try {
    if (!plan.profile) return await compareInTurns(plan, server.address);
    for (const { load } of plan.entries) await profileContender((await load()).open(server.address), plan);
    return undefined;
  } finally {
    server.stop();
  }
}

/**
 * Profiles a contender in this process, so that the Node flags of the command line apply.
 *
 * @param {Contender | Promise<Contender>} opened
 * @param {Comparison} plan
 */
async function profileContender(opened, { entries, workloads, seconds }) {
  const contender = await opened;
  try {
    await rehearse(contender);
    await profile(new Map(entries.map(({ name }) => [name, contender])), workloads, seconds);
  } finally {
    await contender.close();
  }
}

/**
 * @param {Comparison['workloads']} workloads
 * @returns {readonly string[]} Node flags.
 */
function flagsFor(workloads) {
  return workloads.some(({ unit }) => unit === 'message') ? [OLD_SPACE_FLAG] : [];
}

/**
 * @param {Comparison} plan
 * @param {string} address
 */
async function compareInTurns({ bench, entries, baseline, workloads, rounds, seconds }, address) {
  const names = entries.map(({ name }) => name);
  const sets = Math.min(SETS, rounds);
  const sizes = Array.from({ length: sets }, (_, set) => ({ rounds: Math.floor((rounds + set) / sets), seconds }));
  const length = sizes.reduce((sum, size) => sum + lengthOfRun(names.length, workloads.length, size), 0);
  console.error(`${bench}: ${names.join(', ')}; about ${length.toFixed(0)} s`);
  /** @type {import('./rounds.mjs').Taken[]} */
  const taken = [];
  for (const size of sizes) {
    /** @param {ReadonlyMap<string, import('./memory/child.mjs').Child>} children By contender. */
    const work = async (children) => {
      await Promise.all([...children.values()].map((child) => child.execute('rehearseBeside', { names })));
      /** @type {Map<string, import('./rounds.mjs').Turn>} */
      const turns = new Map();
      for (const [name, child] of children) {
        turns.set(name, ({ kind, key }, time) =>
          child.execute('turn', { kind, of: Object.values(key)[0], seconds: time }),
        );
      }
      return takeRounds(turns, workloads, size);
    };
    taken.push(...(await withContenders(entries, address, work, flagsFor(workloads))));
  }
  const peers = new Map(entries.flatMap(({ name, peer }) => (peer === undefined ? [] : [[name, peer]])));
  return rowsOf(summarize(taken, { baseline, peers }));
}

/**
 * @param {object} plan
 * @param {string} plan.bench
 * @param {string} plan.question
 * @param {readonly Partial<Pick<Entry, 'name' | 'about' | 'peer'>>[]} plan.entries
 * @param {readonly import('./workloads.mjs').Workload[]} plan.workloads At least one.
 * @param {number} plan.rounds
 * @param {number} plan.seconds
 * @param {string} plan.baseline
 * @param {string} plan.apart Text after 'each contender', such as 'in a separate process'.
 * @returns {import('./report.mjs').Outline}
 */
export function outlineOfRounds({ bench, question, entries, workloads, rounds, seconds, baseline, apart }) {
  const [workload] = workloads;
  const unit = workload?.unit ?? 'call';
  return {
    bench,
    question,
    how: [
      `medians of ${String(rounds)} rounds of ${String(seconds)} s, each contender ${apart}`,
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
 * @param {boolean} peers True if any contender has a peer.
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
