import { SAMPLE_MS } from '../meter.mjs';

/** @typedef {import('./meter.mjs').EndpointMeter} EndpointMeter */

const SAMPLES_PER_SECOND = 1_000 / SAMPLE_MS;

/** @type {readonly import('../plot.mjs').Panel<EndpointMeter>[]} The curves of the scenarios with several endpoints. */
export const ENDPOINT_PANELS = [
  { title: 'load on the endpoint, relative to its fair share', curve: meanLoad },
  {
    title: 'p99 of all calls, in ms',
    curve: (meter, from) => {
      const second = Math.floor(from / SAMPLES_PER_SECOND);
      return meter.between(second, second + 1).p99Ms;
    },
  },
  {
    title: 'clients that eject the endpoint',
    curve: ({ ejections, returns }, from) => countBefore(ejections, from) - countBefore(returns, from),
  },
];

/**
 * @param {EndpointMeter} meter
 * @param {number} from
 * @param {number} to
 */
function meanLoad({ load, usual }, from, to) {
  // Averages over at least one second, because a small fleet sends few calls in 0.1 s.
  const start = Math.max(Math.min(from, to - SAMPLES_PER_SECOND), 0);
  let all = 0;
  for (let sample = start; sample < to; sample++) all += load[sample] ?? 0;
  return all / usual / (to - start);
}

/**
 * @param {readonly { readonly at: number }[]} events
 * @param {number} sample
 */
function countBefore(events, sample) {
  return events.reduce((count, { at }) => count + Number(at < sample * SAMPLE_MS), 0);
}
