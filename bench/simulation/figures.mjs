import { SAMPLE_MS } from './meter.mjs';

/** @typedef {import('./meter.mjs').Meter} Meter */
/** @typedef {import('./scenarios.mjs').Fault} Fault */

/**
 * @typedef {object} Figures
 * @property {number} amplification Attempts per call in the second half of the worst fault, when what there is of a budget is spent.
 * @property {number} peakLoadRatio The most attempts that arrive once a fault is over, to the usual load.
 * @property {number} goodput Share of all calls that are answered in time.
 * @property {number} newCallsFailed Share of failures among the calls of connected clients in the 10 s after the worst fault.
 * @property {number | null} recoverySeconds From the end of the worst fault until 99 % of calls succeed, for good; null: never.
 */

/** Samples of which the mean is taken: one second. */
const SECOND = 1_000 / SAMPLE_MS;
const RECOVERED = 0.99;
/** Connections are made, and budgets are full. */
const WARM_UP = 2 * SECOND;
/** With fewer calls than that in a sample, the load of several is taken together, of a second at most: chance alone would be a peak. */
const ENOUGH_CALLS = 500;

/**
 * @param {Meter} meter
 * @param {readonly Fault[]} faults
 * @param {number} length Samples.
 * @returns {Figures}
 */
export function figuresOf(meter, faults, length) {
  const spans = faults.map(({ from, to }, index) => ({
    from: Math.ceil(from / SAMPLE_MS),
    to: Math.ceil(to / SAMPLE_MS),
    until: Math.ceil(Math.min((faults[index + 1]?.from ?? Infinity) / SAMPLE_MS, length)),
  }));
  const recoveries = spans.map(({ to, until }) => recovery(meter, to, until));
  return {
    amplification: Math.max(
      ...spans.map(({ from, to }) => {
        const half = Math.ceil((from + to) / 2);
        return sum(meter.attempts, half, to) / Math.max(sum(meter.calls, half, to), 1);
      }),
    ),
    peakLoadRatio: Math.max(...spans.map(({ to, until }) => peak(meter, to, until))),
    goodput: sum(meter.successes, WARM_UP, length) / sum(meter.calls, WARM_UP, length),
    newCallsFailed: Math.max(...meter.fresh.map(({ begun, failed }) => (begun === 0 ? 1 : failed / begun))),
    recoverySeconds: recoveries.includes(null) ? null : Math.max(...recoveries.map(Number)),
  };
}

/**
 * @param {Meter} meter
 * @param {number} begin
 * @param {number} end
 */
function peak({ load, usual }, begin, end) {
  const together = Math.min(Math.ceil(ENOUGH_CALLS / usual), SECOND);
  let most = 0;
  for (let from = begin; from + together <= end; from++) most = Math.max(most, sum(load, from, from + together));
  return most / (usual * together);
}

/**
 * Seconds from `from` until the share of calls that succeed is that of a fleet which is well, and stays so until `until`.
 *
 * @param {Meter} meter
 * @param {number} from
 * @param {number} until
 */
function recovery({ calls, successes }, from, until) {
  for (let second = until; second > from; second--) {
    const begin = Math.max(second - SECOND, from);
    if (sum(successes, begin, second) >= RECOVERED * sum(calls, begin, second)) continue;
    return second >= until - SECOND ? null : ((second - from) * SAMPLE_MS) / 1_000;
  }
  return 0;
}

/**
 * @param {Float64Array} samples
 * @param {number} from
 * @param {number} to
 */
function sum(samples, from, to) {
  let all = 0;
  for (let i = from; i < to; i++) all += samples[i] ?? 0;
  return all;
}
