import { createHistogram } from 'node:perf_hooks';
import { median, quartiles } from './statistics.mjs';

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
 * @typedef {object} Size
 * @property {number} rounds
 * @property {number} seconds Duration per contender, workload, and round.
 */

/**
 * @typedef {{ readonly workload: Workload, readonly samples: ReadonlyMap<string, Sample> }} Taken The samples of one
 *   workload in one round, by contender.
 */

/**
 * Warm-up duration, as a multiple of the duration of a measured round. A client costs up to four times as much during its first second,
 * before its code is compiled. Each contender runs in a separate process, so each needs its own warm-up.
 */
const WARM_UP_ROUNDS = 15;

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
 * Returns the rows of the report: medians over the rounds, and medians and quartiles of the rounds' ratios to the baseline.
 *
 * @param {readonly Taken[]} taken Each must include the baseline.
 * @param {{ baseline: string, entries: readonly { readonly name: string }[] }} compared
 * @returns {readonly import('./report.mjs').Row[]} By workload, then in the order of the contenders.
 */
export function rowsOf(taken, { baseline, entries }) {
  return [...new Set(taken.map(({ workload }) => workload))].flatMap((workload) => {
    const rounds = taken.filter((each) => each.workload === workload).map(({ samples }) => samples);
    /** @param {string} name @param {keyof Sample} what */
    const series = (name, what) => rounds.map((samples) => samples.get(name)?.[what] ?? NaN);
    return entries.map(({ name }) => {
      /** @param {keyof Sample} what */
      const ratios = (what) => {
        const those = series(baseline, what);
        return series(name, what).map((value, round) => value / those[round]);
      };
      return {
        contender: name,
        ...workload.key,
        cpuPerCallUs: median(series(name, 'cpuUs')),
        cpuRatio: median(ratios('cpuUs')),
        cpuSpread: quartiles(ratios('cpuUs')),
        perSecond: median(series(name, 'perSecond')),
        throughputRatio: median(ratios('perSecond')),
        ...(workload.unit === 'call' && { p50Ms: median(series(name, 'p50Ms')), p99Ms: median(series(name, 'p99Ms')) }),
      };
    });
  });
}

/** @type {import('./report.mjs').Varied} */
const IN_FLIGHT = { name: 'inFlight', label: (value) => `${String(value)} in flight` };

/** @type {import('./report.mjs').Varied} */
const SIZE = {
  name: 'size',
  label: (value) => (Number(value) < 1_024 ? `${String(value)} B` : `${String(Number(value) / 1_024)} KiB`),
};

/**
 * The outline of a comparison in rounds.
 *
 * @param {'call' | 'message'} unit
 * @param {{ question: string, apart: string, baseline: string, rounds: number, seconds: number, entries: readonly any[] }} comparison `apart`
 *   follows 'each contender', such as 'in a separate process'.
 * @returns {import('./report.mjs').Outline}
 */
export function outlineOfRounds(unit, { question, apart, baseline, rounds, seconds, entries }) {
  const isCall = unit === 'call';
  return {
    question,
    how: [
      `medians of ${String(rounds)} rounds of ${String(seconds)} s, each contender ${apart}`,
      `ratios are to ${baseline} in the same round`,
      ...entries.filter(({ about }) => about !== undefined).map(({ name, about }) => `${name}: ${about}`),
    ].join('; '),
    varied: isCall ? IN_FLIGHT : SIZE,
    figures: [
      { name: 'cpuPerCallUs', title: `CPU µs/${unit}`, digits: 1 },
      { name: 'cpuRatio', title: 'CPU ratio', digits: 2 },
      { name: 'cpuSpread', title: 'its quartiles', digits: 2 },
      ...(isCall
        ? [
            { name: 'p50Ms', title: 'p50 ms', digits: 2 },
            { name: 'p99Ms', title: 'p99 ms', digits: 2 },
          ]
        : [
            { name: 'perSecond', title: 'messages/s', digits: 0 },
            { name: 'throughputRatio', title: 'throughput ratio', digits: 2 },
          ]),
    ],
  };
}
