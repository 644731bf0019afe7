import { Dashboard } from '/grpc/dashboard.js';
import { duration } from '/grpc/format.js';
import { setText } from '/grpc/parts.js';
import { TimeChart } from '/grpc/rate-chart.js';

const TITLES = {
  plain: ['Nest ClientGrpc', 'default options'],
  tuned: ['Nest ClientGrpc, tuned', 'retryPolicy for reads, keepalive, short reconnect backoff'],
  resilient: ['nestjs-resilient-grpc', 'default options'],
};
const SERVER = {
  listening: ['Running', ''],
  frozen: ['Frozen', 'connections stay open, nothing responds'],
  draining: ['Restarting', 'finishing its calls; then a new server starts'],
  down: ['Down', 'no process listens on its port'],
};
const COUNTDOWN = { opening: 'server is killed in', killed: 'killed; back in' };
/** The actions available in each state of the server, in the phase `free`. */
const POSSIBLE = {
  listening: ['kill', 'keep-down', 'freeze', 'drain'],
  frozen: ['kill', 'keep-down', 'start'],
  draining: [],
  down: ['start'],
};
/** The actions available in phases other than `free`. In phases without an entry, no actions are available. */
const POSSIBLE_IN = { killed: ['keep-down', 'start'] };
const SHOWN_SECONDS = 30;
/** Minimum and maximum of the charts' y-axis limit, in calls per second. The load is 200; spikes above the maximum are clipped. */
const MIN_AXIS_LIMIT = 240;
const MAX_AXIS_LIMIT = 600;
const number = new Intl.NumberFormat('en');

const byId = (id) => document.getElementById(id);

/** The column of one contender, with its figures and its chart. */
class Column {
  constructor(name) {
    const [title, subtitle] = TITLES[name] ?? [name, ''];
    this.element = byId('column').content.firstElementChild.cloneNode(true);
    this.element.dataset.name = name;
    this.element.querySelector('h2').textContent = title;
    this.element.querySelector('.subtitle').textContent = subtitle;
    this.element.querySelector('.details').dataset.title = title;
    this.chart = new TimeChart({
      label: `${title}: succeeded and failed calls per second`,
      series: [
        { label: 'succeeded', color: 'ok', fill: true },
        { label: 'failed', color: 'bad', fill: true },
      ],
      value: (perSecond) => `${perSecond}/s`,
      times: (now) => ({
        splits: () => [-20, -10, 0].map((ago) => now() + ago),
        values: () => ['−20 s', '−10 s', 'now'],
      }),
    });
    this.element.querySelector('.chart-place').replaceWith(this.chart.element);
    this.clear();
  }

  clear() {
    this.previous = undefined;
    this.series = [[], [], []];
  }

  /** Adds the figures of `atSeconds`. Returns the highest rate in the chart. */
  take(result, atSeconds) {
    const failed = result.failed + result.unsafeInFlightFailed;
    // Lower figures mean that the visitor clicked "Start over".
    if (this.previous && result.calls < this.previous.calls) this.clear();
    if (this.previous) {
      const seconds = atSeconds - this.previous.atSeconds;
      this.series[0].push(atSeconds);
      this.series[1].push((result.succeeded - this.previous.succeeded) / seconds);
      this.series[2].push((failed - this.previous.failed) / seconds);
      while (this.series[0][0] < atSeconds - SHOWN_SECONDS) for (const values of this.series) values.shift();
    }
    this.previous = { atSeconds, calls: result.calls, succeeded: result.succeeded, failed };
    this.show(result);
    return Math.max(0, ...this.series[1], ...this.series[2]);
  }

  show(result) {
    // Writes in flight on a lost connection. It is unknown whether they were applied.
    const maybe = result.unsafeInFlightFailed;
    const figures = {
      failed: number.format(result.failed + maybe),
      waiting: number.format(result.waiting),
      succeeded: number.format(result.succeeded),
      longestWaitMs: duration(result.longestWaitMs),
      recoveryMs: result.recoveryMs > 0 ? duration(result.recoveryMs) : '–',
      duplicatedWrites: number.format(result.duplicatedWrites),
      lostWrites: number.format(result.lostWrites),
    };
    for (const [key, text] of Object.entries(figures)) setText(this.figure(key), text);
    for (const key of ['duplicatedWrites', 'lostWrites']) this.figure(key).classList.toggle('bad', result[key] > 0);
    this.figure('waiting').classList.toggle('wait', result.waiting > 0);
    // Only once every call has ended is it certain that none has failed.
    const none = result.waiting > 0 ? 'unknown' : 'none';
    this.element.dataset.failed = result.failed > 0 ? 'some' : maybe > 0 ? 'maybe' : none;
    const writes = maybe === 1 ? 'was a write' : 'were writes';
    setText(
      this.text('maybe'),
      maybe > 0 ? `${number.format(maybe)} of the failed ${writes} in flight: possibly applied` : '',
    );
    const codes = Object.entries(result.failedByCode).map(([code, count]) => `${code} ${number.format(count)}`);
    setText(this.text('codes'), codes.join(' · '));
  }

  text(key) {
    return this.element.querySelector(`[data-text=${key}]`);
  }

  figure(key) {
    return this.element.querySelector(`[data-figure=${key}]`);
  }

  draw(nowSeconds, highest, marks) {
    this.chart.draw(this.series, {
      min: nowSeconds - SHOWN_SECONDS,
      max: nowSeconds,
      highest: Math.min(Math.max(MIN_AXIS_LIMIT, highest), MAX_AXIS_LIMIT),
      marks,
    });
  }
}

const columns = new Map();
let marks = [];
let state;

function take(next) {
  const nowSeconds = next.atMs / 1000;
  if (state && state.upstream !== next.upstream)
    marks.push({ atSeconds: nowSeconds, well: next.upstream === 'listening' });
  marks = marks.filter((mark) => mark.atSeconds > nowSeconds - SHOWN_SECONDS);
  if (state && calls(next) < calls(state)) marks = [];
  state = next;

  let highest = 0;
  for (const result of next.results) {
    let column = columns.get(result.name);
    if (!column) {
      column = new Column(result.name);
      columns.set(result.name, column);
      byId('columns').append(column.element);
    }
    highest = Math.max(highest, column.take(result, nowSeconds));
  }
  for (const column of columns.values()) column.draw(nowSeconds, highest, marks);
  showServer(next);
  showLog(next.log);
}

function calls({ results }) {
  return results.reduce((sum, result) => sum + result.calls, 0);
}

function showServer({ upstream, phase, phaseEndsInMs }) {
  byId('server').dataset.state = upstream;
  const [word, text] = SERVER[upstream];
  setText(byId('server-word'), word);
  setText(byId('server-text'), upstream === 'listening' && phase === 'free' ? 'your turn: click a button' : text);
  byId('countdown').hidden = phaseEndsInMs === undefined;
  setText(byId('countdown-text'), COUNTDOWN[phase] ?? '');
  setText(byId('countdown-seconds'), ((phaseEndsInMs ?? 0) / 1000).toFixed(1));
  for (const button of document.querySelectorAll('[data-fault]')) {
    const possible = phase === 'free' ? POSSIBLE[upstream] : (POSSIBLE_IN[phase] ?? []);
    button.disabled = !possible.includes(button.dataset.fault);
  }
}

let lastLine;
function showLog(lines) {
  const newest = lines.at(-1)?.atMs;
  byId('log-empty').hidden = lines.length > 0;
  if (newest === lastLine && byId('log').childElementCount === lines.length) return;
  lastLine = newest;
  byId('log').replaceChildren(
    ...lines.map(({ level, context, message, atMs }) => {
      const item = document.createElement('li');
      item.dataset.level = level;
      const at = new Date(atMs).toLocaleTimeString('en', { hour12: false });
      item.textContent = `${at}  ${level.toUpperCase()} [${context}] ${message}`;
      return item;
    }),
  );
}

function notify(text) {
  byId('notice').hidden = text === undefined;
  if (text !== undefined) setText(byId('notice'), text);
  document.body.classList.toggle('stale', text !== undefined);
}

/** True from a click on "Start over" until the figures of the new clients arrive. */
let isStartingOver = false;
const live = new EventSource('/live');
live.addEventListener('message', ({ data }) => {
  const next = JSON.parse(data);
  if (isStartingOver && calls(next) >= calls(state)) return;
  isStartingOver = false;
  notify(undefined);
  take(next);
});
live.addEventListener('error', () => {
  // The browser reconnects automatically after a lost connection, but not after a response other than an event stream.
  if (live.readyState === EventSource.CLOSED)
    notify('The gateway has stopped. Restart it with npm start, then reload this page.');
  else if (!isStartingOver) notify('The gateway does not respond; retrying…');
  for (const control of document.querySelectorAll('button')) control.disabled = true;
  byId('server').dataset.state = 'unknown';
  setText(byId('server-word'), 'Unknown');
  setText(byId('server-text'), 'no connection to the gateway');
  byId('countdown').hidden = true;
});
live.addEventListener('open', () => (byId('start-over').disabled = false));

async function post(path) {
  try {
    const answer = await fetch(path, { method: 'POST' });
    if (!answer.ok) notify(`The gateway rejected the request: ${answer.status} ${answer.statusText}`);
  } catch {
    notify('The gateway does not respond. Click again when the figures update.');
  }
}
document.querySelector('.buttons').addEventListener('click', ({ target }) => {
  if (target.dataset.fault) void post(`/faults/${target.dataset.fault}`);
});
byId('start-over').addEventListener('click', () => {
  isStartingOver = state !== undefined;
  notify('Starting a new server and three new clients…');
  void post('/start-over');
});

// A canvas does not follow the color scheme of the page automatically.
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const { chart } of columns.values()) chart.redraw();
});

// The library's dashboard. Shows the client of the third column.
new Dashboard(byId('dashboard'), { heading: 'h2' });
