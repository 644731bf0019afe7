import { SAMPLE_MS } from './meter.mjs';

/** @typedef {import('./meter.mjs').Meter} Meter */
/** @typedef {import('./scenarios.mjs').Fault} Fault */

/**
 * @typedef {object} Figures
 * @property {number} amplification Attempts per call in the second half of the worst fault, when any retry budget is spent.
 * @property {number} peakLoadRatio Maximum rate of arriving attempts after a fault, relative to the usual load.
 * @property {number} goodput Share of all calls that succeed in time.
 * @property {number} newCallsFailed Share of failures among the calls that start within 10 s after the worst fault.
 * @property {number} newCallsFailedConnected The same for calls whose client was connected.
 * @property {number | null} recoverySeconds Time from the end of the worst fault until at least 99 % of calls succeed permanently; null if
 * not before the next fault or the end.
 * @property {number} lastHeldSeconds Longest time from READY until a held call is sent; 0 if none was held.
 */

/** Number of samples per second. */
const SECOND = 1_000 / SAMPLE_MS;
const RECOVERED = 0.99;
/** Excluded time at the start, in which connections are made and budgets fill up. */
const WARM_UP = 2 * SECOND;
/**
 * Samples with fewer calls are combined, because their random variation would count as peaks or drops. For peaks, at most one second is
 * combined.
 */
const ENOUGH_CALLS = 500;
/**
 * Time before the next fault that is excluded, because the start of that fault affects calls in flight. Calls are never queued for longer.
 */
const BEFORE_NEXT = SECOND;

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
  const recoveries = spans.map(({ to, until }) => recovery(meter, to, until === length ? length : until - BEFORE_NEXT));
  return {
    amplification: Math.max(
      ...spans.map(({ from, to }) => {
        const half = Math.ceil((from + to) / 2);
        return sum(meter.attempts, half, to) / Math.max(sum(meter.calls, half, to), 1);
      }),
    ),
    peakLoadRatio: Math.max(...spans.map(({ to, until }) => peak(meter, to, until))),
    goodput: sum(meter.successes, WARM_UP, length) / sum(meter.calls, WARM_UP, length),
    newCallsFailed: Math.max(...meter.fresh.map(({ all }) => shareFailed(all))),
    newCallsFailedConnected: Math.max(...meter.fresh.map(({ connected }) => shareFailed(connected))),
    lastHeldSeconds: meter.longestHeldMs / 1_000,
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
function peak({ load, usual }, begin, end) {
  const together = Math.min(Math.ceil(ENOUGH_CALLS / usual), SECOND);
  let most = 0;
  for (let from = begin; from + together <= end; from++) most = Math.max(most, sum(load, from, from + together));
  return most / (usual * together);
}

/**
 * Returns the seconds from `from` until the share of successful calls is back to normal and stays so until `until`; null if never.
 *
 * @param {Meter} meter
 * @param {number} from
 * @param {number} until
 */
function recovery({ calls, successes, usual }, from, until) {
  const together = Math.max(Math.ceil(ENOUGH_CALLS / usual), SECOND);
  for (let end = until; end > from; end--) {
    const begin = Math.max(end - together, from);
    if (sum(successes, begin, end) >= RECOVERED * sum(calls, begin, end)) continue;
    return end === until ? null : ((end - from) * SAMPLE_MS) / 1_000;
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
