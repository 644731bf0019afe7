/* global uPlot */
import { el, setText } from './parts.js';

const WHOLE_STEPS = [1, 10, 100, 1_000, 10_000, 100_000].flatMap((unit) => [unit, 2 * unit, 5 * unit]);
const FONT = '11px system-ui, sans-serif';

/** Returns a color of the page by the name of its custom property. */
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * Chart of values over time. `series`: { label, color, fill?, dash? } for each line. `color`: custom property without its `--`. `value`
 * formats a value; `times` replaces the time axis. `legend` shows the names of the lines with their values, at the pointer or at the end.
 * Charts with the same `sync` share the pointer position.
 */
export class TimeChart {
  #chart;
  #marks = [];
  #data = [];
  #pointed = null;

  /** `whole`: labels the value axis with whole numbers only. */
  constructor({ label, series, value, height = 150, times, legend = false, sync, whole = false }) {
    this.series = series;
    this.options = { height, times, value, sync, whole };
    this.box = el('div', { class: 'chart', role: 'img', 'aria-label': label });
    this.legend = legend ? new Legend(series) : undefined;
    this.element = el('div', {}, this.legend?.element, this.box);
  }

  /**
   * `data`: times in seconds, then a column for each series. `min`, `max`: time range shown. `highest`: the value axis ends 5% above it.
   * `marks`: vertical lines, as { atSeconds, well }; `well` is true for a recovery, and false for a failure.
   */
  draw(data, { min, max, highest, marks = [] }) {
    if (!this.box.isConnected || this.box.clientWidth === 0) return;
    this.#data = data;
    this.#marks = marks;
    this.#chart ??= this.#newChart();
    const width = this.box.clientWidth;
    if (width !== this.#chart.width) this.#chart.setSize({ width, height: this.options.height });
    this.#chart.batch(() => {
      this.#chart.setData(data, false);
      this.#chart.setScale('x', { min, max });
      this.#chart.setScale('y', { min: 0, max: highest * 1.05 });
    });
    this.#updateLegend();
  }

  /** Redraws with the current colors, because a canvas does not follow the page's color scheme automatically. */
  redraw() {
    this.#chart?.redraw(false);
  }

  destroy() {
    this.#chart?.destroy();
    this.#chart = undefined;
  }

  #newChart() {
    const { height, times, value, sync, whole } = this.options;
    const axis = {
      stroke: () => color('--dim'),
      grid: { stroke: () => color('--line'), width: 1 },
      ticks: { show: false },
      font: FONT,
    };
    const line = ({ label, color: name, fill, dash }) => ({
      label,
      dash,
      stroke: () => color(`--${name}`),
      fill: fill ? () => color(`--${name}-fill`) : undefined,
      width: 2,
      points: { show: false },
    });
    const pointer = { drag: { x: false, y: false }, points: { size: 6 }, sync: { key: sync } };
    return new uPlot(
      {
        width: this.box.clientWidth,
        height,
        legend: { show: false },
        cursor: this.legend ? pointer : { show: false },
        scales: { x: { time: times === undefined, auto: false }, y: { auto: false } },
        axes: [
          {
            ...axis,
            size: 22,
            ...(times?.(() => this.#data[0]?.at(-1) ?? 0) ?? {
              space: 80,
              values: (_chart, ticks) => ticks.map(timeOfDay),
            }),
          },
          { ...axis, size: 48, values: (_chart, ticks) => ticks.map(value), ...(whole && { incrs: WHOLE_STEPS }) },
        ],
        series: [{}, ...this.series.map(line)],
        hooks: {
          draw: [(chart) => this.#drawMarks(chart), (chart) => this.#drawOvershoot(chart)],
          setCursor: [
            ({ cursor }) => {
              this.#pointed = cursor.left >= 0 ? cursor.idx : null;
              this.#updateLegend();
            },
          ],
        },
      },
      this.#data,
      this.box,
    );
  }

  #updateLegend() {
    const [moments, ...columns] = this.#data;
    if (!this.legend || moments === undefined) return;
    const at = this.#pointed ?? moments.length - 1;
    const known = moments[at] !== undefined;
    this.legend.show(
      columns.map((column) => (known ? this.options.value(column[at]) : '–')),
      this.#pointed !== null && known ? timeOfDay(moments[at]) : '',
    );
  }

  /** Draws an arrow and the value at the highest point of a line that exceeds the axis. */
  #drawOvershoot(chart) {
    const { max } = chart.scales.y;
    const [moments, ...columns] = this.#data;
    columns.forEach((column, i) => {
      const highest = column.reduce((best, value, at) => (value > (column[best] ?? max) ? at : best), -1);
      if (highest < 0) return;
      const { ctx, bbox } = chart;
      ctx.save();
      ctx.font = `${devicePixelRatio * 11}px system-ui, sans-serif`;
      ctx.textAlign = 'left';
      ctx.textBaseline = 'top';
      ctx.fillStyle = color(`--${this.series[i].color}`);
      const text = `↑ ${this.options.value(Math.round(column[highest]))}`;
      // Drawn to the right of the point, because the marks that show the cause of the peak are to the left.
      const x = chart.valToPos(moments[highest], 'x', true) + 8 * devicePixelRatio;
      const last = bbox.left + bbox.width - ctx.measureText(text).width;
      ctx.fillText(text, Math.min(x, last), bbox.top + 2 * devicePixelRatio);
      ctx.restore();
    });
  }

  /** Draws a vertical line at each mark. */
  #drawMarks(chart) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const { atSeconds, well } of this.#marks) {
      const x = chart.valToPos(atSeconds, 'x', true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = color(well ? '--ok' : '--bad');
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }
}

/** Legend of a chart: the color and name of each line, with its value at one time. */
class Legend {
  constructor(series) {
    this.values = series.map(() => el('b'));
    this.when = el('span', { class: 'when' });
    const entries = series.map(({ label, color: name }, i) =>
      el('span', {}, el('i', { class: `key ${name}`, 'aria-hidden': 'true' }), `${label} `, this.values[i]),
    );
    this.element = el('p', { class: 'legend' }, ...entries, this.when);
  }

  show(texts, when) {
    texts.forEach((text, i) => setText(this.values[i], text));
    setText(this.when, when);
  }
}

function timeOfDay(seconds) {
  return new Date(seconds * 1_000).toLocaleTimeString('en-GB');
}
