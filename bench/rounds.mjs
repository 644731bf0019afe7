import { createHistogram } from 'node:perf_hooks';
import { median, quantile } from './statistics.mjs';

/** @typedef {import('./contenders.mjs').Contender} Contender */
/** @typedef {import('./workloads.mjs').Workload} Workload */
/** @typedef {(workload: Workload, seconds: number) => Promise<Sample>} Turn */

/**
 * @typedef {object} Sample
 * @property {number} cpuUs CPU time of the process that is measured per call or message, in microseconds, all its threads
 *   together.
 * @property {number} perSecond Calls or messages.
 * @property {number} p50Ms How long a call took, half of them at most; NaN where messages are counted.
 * @property {number} p99Ms
 */

/**
 * @typedef {object} Result
 * @property {string} contender
 * @property {Workload} workload
 * @property {number} cpuUs Median over the rounds.
 * @property {number} perSecond Median over the rounds.
 * @property {number} cpuRatio Median of the rounds' ratios to the baseline of the same round.
 * @property {readonly [number, number]} cpuRatioQuartiles How far apart the rounds were.
 * @property {number} throughputRatio
 * @property {number} p50Ms Median of the rounds' percentiles; NaN where messages are counted.
 * @property {number} p99Ms
 * @property {string} [peer] Who does the same work.
 * @property {number} [peerCpuRatio] As `cpuRatio`, to the peer.
 */

/**
 * @typedef {object} Size
 * @property {number} rounds
 * @property {number} seconds Of each contender at each workload in each round.
 */

/** @typedef {{ readonly workload: Workload, readonly samples: ReadonlyMap<string, Sample> }} Taken In one round, by contender. */

/**
 * @typedef {object} Others
 * @property {string} baseline
 * @property {ReadonlyMap<string, string>} [peers] By contender: who does the same work.
 */

/**
 * The round that warms up is as long as this many others: the first second of a client costs up to four times what it
 * does once its code is compiled, and no contender compiles anything for another.
 */
const WARM_UP = 15;

/**
 * How long {@link takeRounds} takes, in seconds.
 *
 * @param {number} contenders
 * @param {number} workloads
 * @param {Size} size
 * @returns {number}
 */
export function lengthOfRun(contenders, workloads, { rounds, seconds }) {
  return (rounds + WARM_UP) * contenders * workloads * seconds;
}

/**
 * Runs one contender for a while, in this process.
 *
 * @param {Contender} contender
 * @param {Workload} workload
 * @param {number} seconds
 * @returns {Promise<Sample>}
 */
export async function takeTurn(contender, workload, seconds) {
  // No garbage collection is forced here: a full one with nothing in flight frees the hidden classes of calls, and V8 drops
  // all optimized code that relied on them. It made every contender dearer, by up to three times and not by the same factor.
  const cpuUsage = contender.cpuUsage ?? process.cpuUsage;
  const latency = createHistogram();
  const before = await cpuUsage();
  const begunAt = performance.now();
  const amount = await workload.run(contender, seconds * 1_000, latency);
  const tookMs = performance.now() - begunAt;
  const after = await cpuUsage();
  const cpuUs = (after.user + after.system - before.user - before.system) / amount;
  /** @param {number} percent */
  const percentileMs = (percent) => (latency.count > 0 ? latency.percentile(percent) / 1_000 : NaN);
  return { cpuUs, perSecond: (amount * 1_000) / tookMs, p50Ms: percentileMs(50), p99Ms: percentileMs(99) };
}

/**
 * Runs each contender once at each workload, for a profiler to look at, and says how it went.
 *
 * @param {ReadonlyMap<string, Contender>} contenders
 * @param {readonly Workload[]} workloads
 * @param {number} seconds
 */
export async function profile(contenders, workloads, seconds) {
  for (const [name, contender] of contenders) {
    for (const workload of workloads) {
      const { cpuUs, perSecond } = await takeTurn(contender, workload, seconds);
      const rate = `${perSecond.toFixed(0)} ${workload.unit}s/s`;
      console.error(`${name} ${JSON.stringify(workload.key)}: ${cpuUs.toFixed(1)} µs/${workload.unit}, ${rate}`);
    }
  }
}

/**
 * Every contender takes its turn at every workload in each round, so that a machine that slows down or speeds up does so
 * for all of them.
 *
 * @param {ReadonlyMap<string, Turn>} turns By contender.
 * @param {readonly Workload[]} workloads
 * @param {Size} size
 * @returns {Promise<readonly Taken[]>}
 */
export async function takeRounds(turns, workloads, { rounds, seconds }) {
  /** @type {Taken[]} */
  const taken = [];
  // Round -1 warms up.
  for (let round = -1; round < rounds; round++) {
    for (const workload of workloads) {
      /** @type {Map<string, Sample>} */
      const samples = new Map();
      for (const name of orderOfRound([...turns.keys()], round)) {
        const sample = await turns.get(name)?.(workload, round < 0 ? WARM_UP * seconds : seconds);
        if (sample !== undefined) samples.set(name, sample);
      }
      if (round >= 0) taken.push({ workload, samples });
    }
  }
  return taken;
}

/**
 * Another one begins each round, and every second round goes backwards: rotation alone would let each follow the same one
 * for ever.
 *
 * @param {readonly string[]} names
 * @param {number} round
 * @returns {string[]}
 */
function orderOfRound(names, round) {
  const first = Math.max(0, round) % names.length;
  const order = [...names.slice(first), ...names.slice(0, first)];
  return round % 2 === 0 ? order : order.reverse();
}

/**
 * @param {readonly Taken[]} taken With the baseline in each.
 * @param {Others} others
 * @returns {readonly Result[]} By workload, then in the order of the contenders.
 */
export function summarize(taken, { baseline, peers }) {
  return [...new Set(taken.map(({ workload }) => workload))].flatMap((workload) => {
    const rounds = taken.filter((each) => each.workload === workload).map(({ samples }) => samples);
    // The first round went in their order.
    return [...(rounds[0]?.keys() ?? [])].map((name) =>
      resultOf(name, { baseline, peer: peers?.get(name) }, workload, rounds),
    );
  });
}

/**
 * @param {string} contender
 * @param {{ readonly baseline: string, readonly peer: string | undefined }} others
 * @param {Workload} workload
 * @param {readonly ReadonlyMap<string, Sample>[]} taken By round.
 * @returns {Result}
 */
function resultOf(contender, { baseline, peer }, workload, taken) {
  /** @param {string} name @param {keyof Sample} what */
  const series = (name, what) => taken.map((ofRound) => ofRound.get(name)?.[what] ?? NaN);
  /** @param {keyof Sample} what @param {string} other */
  const ratios = (what, other) => {
    const those = series(other, what);
    return series(contender, what).map((value, round) => value / (those[round] ?? NaN));
  };
  const cpuRatios = ratios('cpuUs', baseline);
  return {
    contender,
    workload,
    cpuUs: median(series(contender, 'cpuUs')),
    perSecond: median(series(contender, 'perSecond')),
    cpuRatio: median(cpuRatios),
    cpuRatioQuartiles: [quantile(cpuRatios, 0.25), quantile(cpuRatios, 0.75)],
    throughputRatio: median(ratios('perSecond', baseline)),
    p50Ms: median(series(contender, 'p50Ms')),
    p99Ms: median(series(contender, 'p99Ms')),
    ...(peer !== undefined && taken[0]?.has(peer) && { peer, peerCpuRatio: median(ratios('cpuUs', peer)) }),
  };
}
