import { init } from 'echarts';
import { SAMPLE_MS } from './meter.mjs';
import { sum } from './figures.mjs';

/**
 * A panel with one curve per policy. `curve` returns the value of a curve for the samples from `from` until `to`.
 *
 * @template M
 * @typedef {{ readonly title: string, readonly curve: (meter: M, from: number, to: number) => number }} Panel
 */

const COLORS = ['#0b7a75', '#c8442b', '#6b5ca5', '#8a8f98', '#c28a1e', '#3a6ea5'];
const [WIDTH, HEIGHT, TOP, GAP] = [900, 190, 70, 40];
/** Target number of points per curve. A curve has up to twice as many, because the step between points is rounded down. */
const POINTS = 300;
const SAMPLES_PER_SECOND = 1_000 / SAMPLE_MS;

/** @type {readonly Panel<import('./meter.mjs').Meter>[]} */
export const FLEET_PANELS = [
  {
    title: 'load: arriving attempts relative to the usual load',
    curve: ({ load, usual }, from, to) => Math.max(...load.slice(from, to)) / usual,
  },
  {
    title: 'amplification: attempts per call',
    curve: ({ attempts, calls }, from, to) => ratio(sum(attempts, from, to), sum(calls, from, to)),
  },
  {
    title: 'goodput: share of calls that succeed in time',
    curve: ({ successes, calls }, from, to) => ratio(sum(successes, from, to), sum(calls, from, to)),
  },
];

/** @type {readonly Panel<import('./endpoints/meter.mjs').EndpointMeter>[]} The curves of the scenarios with several endpoints. */
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
 * Draws the curves of all policies as SVG, with shaded faults.
 *
 * @param {import('./report.mjs').Simulated} simulated
 * @param {readonly Panel<any>[]} panels
 * @returns {string}
 */
export function plot({ scenario, title, results, faults, seconds }, panels) {
  const height = TOP + panels.length * (HEIGHT + GAP);
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  const names = results.map(({ policy }) => policy.name);
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    color: COLORS,
    title: { text: `${scenario}: ${title}`, left: 10, top: 6, textStyle: { fontSize: 13 } },
    legend: { data: names, top: 28 },
    grid: panels.map((_, index) => ({
      left: 50,
      right: 20,
      top: TOP + 20 + index * (HEIGHT + GAP),
      height: HEIGHT - 30,
    })),
    xAxis: panels.map((_, gridIndex) => ({
      gridIndex,
      type: 'value',
      min: 0,
      max: seconds,
      axisLabel: { formatter: '{value} s' },
      splitLine: { show: false },
    })),
    yAxis: panels.map((panel, gridIndex) => ({
      gridIndex,
      type: 'value',
      min: 0,
      name: panel.title,
      nameTextStyle: { align: 'left' },
    })),
    series: panels.flatMap(({ curve }, index) =>
      results.map(({ policy, meter }, place) => ({
        name: policy.name,
        type: 'line',
        showSymbol: false,
        lineStyle: { width: place === 0 ? 2 : 1.2 },
        // The first policy is drawn on top.
        z: results.length - place,
        xAxisIndex: index,
        yAxisIndex: index,
        data: points(meter, seconds, curve),
        ...(place === 0
          ? {
              markArea: {
                silent: true,
                itemStyle: { color: '#00000012' },
                data: faults.map(({ from, to }) => [{ xAxis: from / 1_000 }, { xAxis: to / 1_000 }]),
              },
            }
          : {}),
      })),
    ),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/**
 * @template M
 * @param {M} meter
 * @param {number} seconds
 * @param {Panel<M>['curve']} curve
 */
function points(meter, seconds, curve) {
  const samples = (seconds * 1_000) / SAMPLE_MS;
  const step = Math.max(Math.floor(samples / POINTS), 1);
  const all = [];
  for (let from = 0; from + step <= samples; from += step) {
    all.push([Number(((from * SAMPLE_MS) / 1_000).toFixed(1)), Number(curve(meter, from, from + step).toFixed(3))]);
  }
  return all;
}

/**
 * @param {number} part
 * @param {number} whole
 */
function ratio(part, whole) {
  return whole === 0 ? 0 : part / whole;
}

/**
 * @param {import('./endpoints/meter.mjs').EndpointMeter} meter
 * @param {number} from
 * @param {number} to
 */
function meanLoad({ load, usual }, from, to) {
  // Averages over at least one second, because a small fleet sends few calls in 0.1 s.
  const start = Math.max(Math.min(from, to - SAMPLES_PER_SECOND), 0);
  return sum(load, start, to) / usual / (to - start);
}

/**
 * @param {readonly { readonly at: number }[]} events
 * @param {number} sample
 */
function countBefore(events, sample) {
  return events.reduce((count, { at }) => count + Number(at < sample * SAMPLE_MS), 0);
}
