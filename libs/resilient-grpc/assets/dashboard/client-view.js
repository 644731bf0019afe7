import { count, rate } from './format.js';
import { el, panel, setAttribute, setText } from './parts.js';
import { TimeChart } from './rate-chart.js';

/** State, name, target, and assessment of a client, as a header. */
export class ClientHead {
  constructor() {
    this.word = el('b', { class: 'state' });
    this.name = el('span');
    this.target = el('span', { class: 'target' });
    this.sentence = el('p', { class: 'sentence' });
    this.heading = el('h2', { tabindex: '-1' }, this.word, ' ', this.name, ' ', this.target);
    this.element = el('header', { class: 'client' }, this.heading, this.sentence);
  }

  /** Moves the focus here, as a link to a new page would. */
  focus() {
    this.heading.focus({ preventScroll: true });
  }

  show({ key, snapshot }, { tone, word, sentence }) {
    setAttribute(this.element, 'data-tone', tone);
    setText(this.word, word);
    setText(this.name, key);
    const { target, transport } = snapshot;
    setText(this.target, transport === 'grpc-js' ? `${target} (transport: grpc-js)` : target);
    setText(this.sentence, sentence);
  }
}

/** Title, label, minimum upper limit, and series of each chart. */
const CHARTS = [
  {
    title: 'Calls',
    label: 'Calls per second: succeeded and failed',
    minHighest: 1,
    value: rate,
    series: [
      { label: 'succeeded', color: 'ok', field: 'succeeded', fill: true },
      { label: 'failed', color: 'bad', field: 'failed', fill: true },
    ],
  },
  {
    title: 'Attempts',
    label: 'Attempts per second: all, retries, and hedges',
    minHighest: 1,
    value: rate,
    series: [
      { label: 'attempts', color: 'ours', field: 'attempts' },
      { label: 'retries', color: 'wait', field: 'retried', fill: true },
      { label: 'hedges', color: 'hedge', field: 'hedged', dash: [6, 3] },
    ],
  },
  {
    title: 'Waiting',
    label: 'Calls waiting for a connection',
    minHighest: 4,
    value: (value) => count(Math.round(value ?? 0)),
    whole: true,
    series: [{ label: 'waiting calls', color: 'wait', field: 'waiting', fill: true }],
  },
];

/** Calls, attempts, and waiting calls of a client over time. */
export class CallCharts {
  #charts = CHARTS.map(({ minHighest, ...options }) => ({
    minHighest,
    title: options.title,
    chart: new TimeChart({ ...options, legend: true, sync: 'client', height: 140 }),
  }));

  element = el('div', { class: 'charts' }, ...this.#charts.map(({ title, chart }) => panel(title, chart.element)));

  /** Draws `dataOf(fields)`: times in seconds, then a column for each field. `shown`: `min`, `max`, and `marks` of `TimeChart.draw`. */
  draw(dataOf, shown) {
    for (const { chart, minHighest } of this.#charts) {
      const data = dataOf(chart.series.map(({ field }) => field));
      const highest = data
        .slice(1)
        .flat()
        .reduce((a, b) => Math.max(a, b), minHighest);
      chart.draw(data, { ...shown, highest });
    }
  }

  redraw() {
    for (const { chart } of this.#charts) chart.redraw();
  }

  destroy() {
    for (const { chart } of this.#charts) chart.destroy();
  }
}
