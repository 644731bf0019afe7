import { init } from 'echarts';
import { SAMPLE_MS } from './meter.mjs';

/** @typedef {{ readonly from: number, readonly to: number }} Shaded Start and end of a fault in milliseconds. */
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

/** @type {readonly Panel<import('./meter.mjs').Meter>[]} */
const FLEET_PANELS = [
  {
    title: 'load: arriving attempts relative to the usual load',
    curve: ({ load, usual }, from, to) => maxOf(load, from, to) / usual,
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

/**
 * Draws the curves of all policies as SVG, with shaded faults.
 *
 * @template M
 * @param {readonly { readonly policy: { readonly name: string }, readonly meter: M }[]} results
 * @param {readonly Shaded[]} faults
 * @param {number} seconds
 * @param {string} title
 * @param {readonly Panel<M>[]} panels
 * @returns {string}
 */
export function plot(results, faults, seconds, title, panels = FLEET_PANELS) {
  const height = TOP + panels.length * (HEIGHT + GAP);
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  const names = results.map(({ policy }) => policy.name);
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    color: COLORS,
    title: { text: title, left: 10, top: 6, textStyle: { fontSize: 13 } },
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
 * @param {Float64Array} samples
 * @param {number} from
 * @param {number} to
 */
function sum(samples, from, to) {
  let all = 0;
  for (let i = from; i < to; i++) all += samples[i] ?? 0;
  return all;
}

/**
 * @param {Float64Array} samples
 * @param {number} from
 * @param {number} to
 */
function maxOf(samples, from, to) {
  let top = 0;
  for (let i = from; i < to; i++) top = Math.max(top, samples[i] ?? 0);
  return top;
}

/**
 * @param {number} part
 * @param {number} whole
 */
function ratio(part, whole) {
  return whole === 0 ? 0 : part / whole;
}
