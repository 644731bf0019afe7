import { SAMPLE_MS } from './meter.mjs';

/** @typedef {import('./meter.mjs').Meter} Meter */
/** @typedef {import('./scenarios.mjs').Fault} Fault */

/**
 * @typedef {object} Figures
 * @property {number} amplification Attempts per call in the second half of the worst fault, when any retry budget is spent.
 * @property {number} peakLoadRatio Maximum rate of arriving attempts after a fault, relative to the usual load.
 * @property {number} goodput Share of successful calls among those that start after the first 2 s.
 * @property {number} newCallsFailed Share of failures among the calls that start within 10 s after the worst fault; 1 if no call starts.
 * @property {number} newCallsFailedConnected Like `newCallsFailed`, but only for calls whose client was connected.
 * @property {number | null} recoverySeconds Longest time, over all faults, from the end of a fault until the share of successful calls
 *   reaches 99% and stays there. Calls are observed until one second before the next fault, or until the end of the simulation. `null` if
 *   the share is below 99% at the end of the observation of any fault.
 * @property {number} lastWaitingSeconds Longest time from READY, or from the start of the wait if later, until a waiting call is sent; 0 if
 *   no call waited.
 */

const SAMPLES_PER_SECOND = 1_000 / SAMPLE_MS;
const RECOVERED_SHARE = 0.99;
/** Number of samples at the start that do not count toward the goodput. */
const WARM_UP_SAMPLES = 2 * SAMPLES_PER_SECOND;
/**
 * Target number of calls per computed value. Samples with fewer calls are combined, because their random variation would count as peaks or
 * drops. For peaks, at most one second of samples is combined; for recovery, at least one second.
 */
const MIN_COMBINED_CALLS = 500;
/**
 * Number of samples that are excluded before the next fault, because its start affects calls in flight. A bounded server queues a call for
 * at most this time.
 */
const EXCLUDED_SAMPLES = SAMPLES_PER_SECOND;

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
  const recoveries = spans.map(({ to, until }) =>
    recovery(meter, to, until === length ? length : until - EXCLUDED_SAMPLES),
  );
  return {
    amplification: Math.max(
      ...spans.map(({ from, to }) => {
        const half = Math.ceil((from + to) / 2);
        return sum(meter.attempts, half, to) / Math.max(sum(meter.calls, half, to), 1);
      }),
    ),
    peakLoadRatio: Math.max(...spans.map(({ to, until }) => peakOf(meter, to, until))),
    goodput: sum(meter.successes, WARM_UP_SAMPLES, length) / sum(meter.calls, WARM_UP_SAMPLES, length),
    newCallsFailed: Math.max(...meter.fresh.map(({ all }) => shareFailed(all))),
    newCallsFailedConnected: Math.max(...meter.fresh.map(({ connected }) => shareFailed(connected))),
    lastWaitingSeconds: meter.longestWaitMs / 1_000,
    recoverySeconds: recoveries.includes(null) ? null : Math.max(...recoveries.map(Number)),
  };
}

/** @param {import('./meter.mjs').Count} count */
function shareFailed({ begun, failed }) {
  return begun === 0 ? 1 : failed / begun;
}

/**
 * @param {Meter} meter
 * @param {number} begin
 * @param {number} end
 */
export function peakOf({ load, usual }, begin, end) {
  const together = Math.min(Math.ceil(MIN_COMBINED_CALLS / usual), SAMPLES_PER_SECOND);
  let max = 0;
  for (let from = begin; from + together <= end; from++) max = Math.max(max, sum(load, from, from + together));
  return max / (usual * together);
}

/**
 * Returns how many seconds after `from` the share of successful calls becomes normal and stays so up to `until`; null if it never does.
 *
 * @param {Meter} meter
 * @param {number} from
 * @param {number} until
 */
function recovery({ calls, successes, usual }, from, until) {
  const together = Math.max(Math.ceil(MIN_COMBINED_CALLS / usual), SAMPLES_PER_SECOND);
  for (let end = until; end > from; end--) {
    const begin = Math.max(end - together, from);
    if (sum(successes, begin, end) >= RECOVERED_SHARE * sum(calls, begin, end)) continue;
    return end === until ? null : ((end - from) * SAMPLE_MS) / 1_000;
  }
  return 0;
}

/**
 * @param {Float64Array | readonly number[]} samples
 * @param {number} from
 * @param {number} to
 */
export function sum(samples, from, to) {
  let all = 0;
  for (let i = from; i < to; i++) all += samples[i] ?? 0;
  return all;
}
