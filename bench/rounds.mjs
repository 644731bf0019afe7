import { createHistogram } from 'node:perf_hooks';
import { median, quantile } from './statistics.mjs';

/** @typedef {import('./contenders.mjs').Contender} Contender */
/** @typedef {import('./workloads.mjs').Workload} Workload */
/** @typedef {(workload: Workload, seconds: number) => Promise<Sample>} Turn */

/**
 * @typedef {object} Sample
 * @property {number} cpuUs CPU time of all threads of the measured process per call or message, in microseconds.
 * @property {number} perSecond Calls or messages.
 * @property {number} p50Ms Median duration of a call; NaN if messages are counted.
 * @property {number} p99Ms
 */

/**
 * @typedef {object} Result
 * @property {string} contender
 * @property {Workload} workload
 * @property {number} cpuUs Median over the rounds.
 * @property {number} perSecond Median over the rounds.
 * @property {number} cpuRatio Median of the rounds' ratios to the baseline of the same round.
 * @property {readonly [number, number]} cpuRatioQuartiles Quartiles of these ratios.
 * @property {number} throughputRatio
 * @property {number} p50Ms Median of the rounds' percentiles; NaN if messages are counted.
 * @property {number} p99Ms
 * @property {string} [peer] A contender that does the same work.
 * @property {number} [peerCpuRatio] Like `cpuRatio`, relative to the peer.
 */

/**
 * @typedef {object} Size
 * @property {number} rounds
 * @property {number} seconds Duration per contender, workload, and round.
 */

/**
 * @typedef {{ readonly workload: Workload, readonly samples: ReadonlyMap<string, Sample> }} Taken The samples of one
 *   workload in one round, by contender.
 */

/**
 * @typedef {object} Others
 * @property {string} baseline
 * @property {ReadonlyMap<string, string>} [peers] The peer of each contender that has one.
 */

/**
 * Warm-up duration, as a multiple of the duration of a measured round. A client costs up to four times as much during its first second,
 * before its code is compiled. Each contender runs in a separate process, so each needs its own warm-up.
 */
const WARM_UP_ROUNDS = 15;

/**
 * Returns the duration of {@link takeRounds} in seconds.
 *
 * @param {number} contenders
 * @param {number} workloads
 * @param {Size} size
 * @returns {number}
 */
export function lengthOfRun(contenders, workloads, { rounds, seconds }) {
  return (rounds + WARM_UP_ROUNDS) * contenders * workloads * seconds;
}

/**
 * Runs one contender with one workload for `seconds`, in this process.
 *
 * @param {Contender} contender
 * @param {Workload} workload
 * @param {number} seconds
 * @returns {Promise<Sample>}
 */
export async function takeTurn(contender, workload, seconds) {
  // Does not force a garbage collection. With nothing in flight, a full collection frees the hidden classes of calls, and V8 then drops all
  // optimized code that depends on them. Calls then cost up to three times as much, with a different factor for each contender.
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
 * Runs each contender once with each workload for a profiler, and prints the results.
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
 * Runs every contender with every workload in each round, so that changes in the machine's speed affect all of them.
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
        const sample = await turns.get(name)?.(workload, round < 0 ? WARM_UP_ROUNDS * seconds : seconds);
        if (sample !== undefined) samples.set(name, sample);
      }
      if (round >= 0) taken.push({ workload, samples });
    }
  }
  return taken;
}

/**
 * Returns the order of a round. Each round starts with the next contender, and odd-numbered rounds run the others in reverse. With
 * rotation alone, each contender would always follow the same contender.
 *
 * @param {readonly string[]} names
 * @param {number} round
 * @returns {string[]}
 */
function orderOfRound(names, round) {
  const start = Math.max(0, round) % names.length;
  const others = [...names.slice(start + 1), ...names.slice(0, start)];
  return [...names.slice(start, start + 1), ...(round % 2 === 0 ? others : others.reverse())];
}

/**
 * @param {readonly Taken[]} taken Each must include the baseline.
 * @param {Others} others
 * @returns {readonly Result[]} By workload, then in the order of the contenders.
 */
export function summarize(taken, { baseline, peers }) {
  return [...new Set(taken.map(({ workload }) => workload))].flatMap((workload) => {
    const rounds = taken.filter((each) => each.workload === workload).map(({ samples }) => samples);
    // Takes the names from the first round, which ran in the order of the contenders.
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
