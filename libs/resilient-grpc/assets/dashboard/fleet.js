import { shownMs } from './client-state.js';
import { CallCharts, ClientHead } from './client-view.js';
import { handleKey, HASH, linkProblem, LINKS, reloadFor, selectedClient, verdict } from './dashboard.js';
import { callTables } from './details-tables.js';
import { Facts } from './details.js';
import { age, count, counted, duration, moment, NONE, percent, rate } from './format.js';
import { LiveFeed } from './live-feed.js';
import { Overview } from './overview.js';
import { el, panel, place, section, setAttribute, setText, Table } from './parts.js';
import { ProcessState } from './process-state.js';
import { SummedClient } from './summed-client.js';

const OWN_KEY = 'self';
const number = (title, valueOf, tone, note) => ({
  title,
  note,
  number: true,
  text: (item) => (valueOf(item) === undefined ? NONE : count(valueOf(item))),
  tone: (item) => (valueOf(item) > 0 ? tone : ''),
});
/** Returns the URL of the page of one process, or of one of its clients. */
const addressOf = ({ key }, client) =>
  `${location.pathname}?process=${encodeURIComponent(key)}${client === undefined ? '' : HASH + encodeURIComponent(client)}`;

/** One process, and the connection to it. */
class Process {
  state = new ProcessState();
  link = { state: 'connecting' };
  /** Time at which the state of the link last changed, by the browser's clock. */
  since = Date.now();

  constructor(key) {
    this.key = key;
  }

  setLink(link) {
    if (link.state !== this.link.state) this.since = Date.now();
    this.link = link;
  }

  take(event, data) {
    try {
      this.state.take(event, data);
      this.setLink({ state: data.accepting ? 'live' : 'ending' });
    } catch {
      this.setLink({ state: 'unreadable' });
    }
  }

  /** True if the data of the process is current. A process that is shutting down still sends data for a short time. */
  get isCurrent() {
    const { state } = this.link;
    return (
      this.state.process !== undefined && (state === 'live' || (state === 'ending' && Date.now() - this.at < 3_000))
    );
  }

  /** Time of the data of the process, by the browser's clock. */
  get at() {
    return this.state.at - this.state.skew;
  }

  get skew() {
    return this.state.skew;
  }

  /** Current time by the clock of the process. */
  get now() {
    return Math.max(Date.now() + this.state.skew, this.state.at);
  }

  get name() {
    const { process } = this.state;
    return process === undefined ? this.key : `${process.host}, process ${process.pid}`;
  }

  /** Identity of the process; equal for two URLs of one process. */
  get identity() {
    return this.state.process?.id ?? this.key;
  }
}

/** The page of several processes, with summed values. Each process, and each of its clients, links to the page of that process. */
export class Fleet {
  #processes = new Map();
  #list = { keys: [], omitted: 0 };
  #link = { state: 'connecting' };
  #focusDue = false;

  /** `release`: the release of this page. */
  constructor(parent, { onVerdict, release }) {
    this.release = release;
    this.onVerdict = onVerdict;
    this.status = el('p', { class: 'link', role: 'status' });
    this.clock = el('span', { class: 'dim' });
    this.number = el('span', { class: 'dim' });
    this.notice = el('p', { class: 'notice', role: 'alert', hidden: true });
    this.verdict = el('p', { class: 'verdict-line', role: 'status' });
    this.facts = new Facts();
    this.table = processTable();
    this.overview = new Overview((key) => `${location.pathname}${HASH}${encodeURIComponent(key)}`);
    this.client = new FleetClient();
    this.view = el('div', { class: 'view' });
    this.home = [this.facts.element, section('h2', 'Processes', this.table.element), this.overview.element];
    this.element = el(
      'div',
      { class: 'dashboard' },
      el('header', { class: 'top' }, el('h1', { text: 'gRPC clients' }), this.status, this.clock, this.number),
      this.notice,
      this.verdict,
      this.view,
    );
    parent.append(this.element);
    this.feed = new LiveFeed(import.meta.url, {
      path: 'fleet',
      onData: (event, ...data) => this.#take(event, ...data),
      onLink: (link) => {
        this.#link = link;
        this.#show();
      },
    });
    this.feed.listen(selectedClient());
    addEventListener('hashchange', () => {
      this.#focusDue = true;
      this.feed.listen(selectedClient());
      this.#show();
    });
    addEventListener('keydown', (event) => handleKey(event, this.overview));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.client.charts.redraw());
    new ResizeObserver(() => this.#show()).observe(this.view);
    setInterval(() => this.#show(), 500);
    this.#show();
  }

  #take(event, head, data) {
    if (event === 'processes') {
      this.#list = head;
      for (const key of this.#processes.keys()) if (!head.keys.includes(key)) this.#processes.delete(key);
    } else if (event === 'link') this.#process(head.key).setLink(head);
    else {
      const isOwn = head.key === OWN_KEY && head.event === 'whole';
      if (isOwn && data.process.release !== this.release) reloadFor(data.process.release);
      this.#process(head.key).take(head.event, data);
    }
    this.#show();
  }

  #process(key) {
    let process = this.#processes.get(key);
    if (process === undefined) this.#processes.set(key, (process = new Process(key)));
    return process;
  }

  /** Returns the processes without duplicates, because the URL of the process that serves the page can be listed, too. */
  #distinct() {
    const seen = new Map();
    for (const process of this.#processes.values()) {
      const known = seen.get(process.identity);
      if (known === undefined || (process.key === OWN_KEY && known.key !== OWN_KEY))
        seen.set(process.identity, process);
    }
    return [...seen.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  }

  #show() {
    const { state } = this.#link;
    const [word] = LINKS[state];
    setText(this.status, word);
    setAttribute(this.status, 'data-state', state);
    const processes = this.#distinct();
    const current = processes.filter(({ isCurrent }) => isCurrent);
    const isLive = state === 'live';
    setText(this.clock, isLive ? moment(Date.now(), Date.now()) : '');
    setText(
      this.number,
      processes.length === 0 ? '' : `${current.length} of ${counted(processes.length, 'process', 'processes')}`,
    );
    const { omitted, problem } = this.#list;
    const notices = [
      isLive || (state === 'connecting' && processes.length === 0) ? '' : linkProblem(this.#link),
      problem === undefined ? '' : `The application ${problem}. The previous list stays in use.`,
      omitted > 0 ? `${counted(omitted, 'further process is', 'further processes are')} not shown.` : '',
    ].filter(Boolean);
    this.notice.hidden = notices.length === 0;
    setText(this.notice, notices.join(' '));
    this.element.classList.toggle('stale', !isLive && processes.length > 0);
    // Keeps the previous view while the link is not live.
    if (!isLive && this.clients !== undefined) return this.#report(processes);
    this.clients = summedClients(current);
    const now = Date.now();
    this.#report(processes);
    this.facts.show(sums(current));
    this.table.show(processes, now);
    const key = selectedClient();
    const selected = this.clients.find((client) => client.key === key);
    if (key !== undefined && selected !== undefined) {
      place(this.view, this.client.element);
      this.client.show(selected, now);
      if (this.#focusDue) this.client.head.focus();
    } else {
      place(this.view, ...this.home);
      this.overview.element.hidden = this.clients.length === 0;
      if (this.clients.length > 0) this.overview.show(this.clients, this.clients.length, now);
      if (this.#focusDue) this.overview.focus(this.shownKey);
    }
    this.shownKey = key ?? this.shownKey;
    this.#focusDue = false;
  }

  #report(processes) {
    const clients = this.clients ?? [];
    const bad = clients.filter((client) => client.assess().rank >= 4).length;
    const missing = processes.filter(
      ({ isCurrent, link }) => !isCurrent && link.state !== 'connecting' && link.state !== 'live',
    ).length;
    this.verdict.hidden = clients.length === 0 && missing === 0;
    setText(
      this.verdict,
      [
        missing === 0
          ? ''
          : `${missing} of ${counted(processes.length, 'process', 'processes')} ${missing === 1 ? 'sends' : 'send'} no data.`,
        verdict(bad, clients.length),
      ]
        .filter(Boolean)
        .join(' '),
    );
    setAttribute(this.verdict, 'data-tone', bad > 0 ? 'bad' : missing > 0 ? 'warn' : 'ok');
    this.onVerdict({ bad, all: clients.length, link: this.#link.state });
  }
}

/** Returns one summed client for each client key in `processes`. */
function summedClients(processes) {
  const parts = new Map();
  for (const process of processes)
    for (const [key, client] of process.state.clients) parts.set(key, [...(parts.get(key) ?? []), { process, client }]);
  return [...parts].map(([key, all]) => new SummedClient(key, all));
}

const clientsOf = (process) => (process.isCurrent ? [...process.state.clients.values()] : undefined);
const sumOf = (clients, valueOf) => clients?.reduce((sum, client) => sum + (valueOf(client) ?? 0), 0);
const rateOf = (clients, field) =>
  clients === undefined ? undefined : sumOf(clients, (client) => client.rateNow(field));
const failedOf = (clients) => sumOf(clients, ({ snapshot }) => snapshot.recent.failed);
const waitingOf = (clients) => sumOf(clients, ({ snapshot }) => snapshot.waiting);
const unhealthyOf = (process) => clientsOf(process)?.filter((client) => client.assess(process.now).rank >= 4).length;

/** Returns facts about all `processes` combined. */
function sums(processes) {
  const clients = processes.flatMap((process) => clientsOf(process));
  const failed = failedOf(clients);
  const ended = sumOf(clients, ({ snapshot }) => snapshot.recent.ended);
  const waiting = waitingOf(clients);
  const overloaded = processes.filter(({ state }) =>
    state.servers.some(({ overload }) => overload.since !== undefined),
  );
  return [
    ['calls', rate(rateOf(clients, 'started'))],
    ['failed in 30 to 60 s', ended === 0 ? NONE : failed === 0 ? '0' : `${count(failed)} (${percent(failed, ended)})`],
    ['waiting', count(waiting), waiting > 0 && 'warn'],
    ['retries', rate(rateOf(clients, 'retried'))],
    ['running', count(sumOf(clients, ({ snapshot }) => snapshot.active))],
    ['overloaded servers', count(overloaded.length), overloaded.length > 0 && 'bad'],
  ];
}

function processTable() {
  return new Table({
    label: 'Processes',
    empty: 'Waiting for the first data…',
    keyOf: ({ key }) => key,
    columns: [
      { title: 'process', text: ({ name }) => name, href: (process) => addressOf(process), cell: 'moment' },
      { title: 'address', text: ({ key }) => (key === OWN_KEY ? 'this process' : key), cell: 'path' },
      {
        title: 'state',
        text: ({ link: { state, text }, since }) => {
          const [word] = LINKS[state];
          return state === 'live' ? word : `${word} for ${age(Date.now() - since)}${text ? `: ${text}` : ''}`;
        },
        tone: ({ link }) => ({ live: 'ok', connecting: 'warn', ending: 'warn' })[link.state] ?? 'bad',
        cell: 'wide',
      },
      { title: 'release', text: ({ state }) => state.process?.release ?? NONE, note: 'nestjs-resilient-grpc' },
      {
        title: 'started',
        text: ({ state }) =>
          state.process?.startedAt ? `${age(Date.now() + state.skew - Date.parse(state.process.startedAt))} ago` : NONE,
        cell: 'moment',
      },
      number('unhealthy', unhealthyOf, 'bad', 'Clients with problems'),
      { title: 'calls', number: true, text: (process) => rate(rateOf(clientsOf(process), 'started')) },
      number('failed', (process) => failedOf(clientsOf(process)), '', 'In the last 30 to 60 seconds'),
      number('waiting', (process) => waitingOf(clientsOf(process)), 'warn', 'Calls waiting for the channel'),
    ],
  });
}

/** Details of one client, summed over all processes. */
class FleetClient {
  constructor() {
    this.head = new ClientHead();
    this.facts = new Facts();
    this.table = new Table({
      label: 'By process',
      empty: '',
      keyOf: ({ process }) => process.key,
      columns: [
        {
          title: 'process',
          text: ({ process }) => process.name,
          href: ({ process, client }) => addressOf(process, client.key),
          cell: 'moment',
        },
        {
          title: 'state',
          text: ({ assessment }) => assessment.word,
          tone: ({ assessment }) => assessment.tone,
          cell: 'moment',
        },
        { title: 'meaning', text: ({ assessment }) => assessment.sentence, cell: 'wide' },
        { title: 'calls', number: true, text: ({ client }) => rate(client.rateNow('started')) },
        number('failed', ({ client }) => client.snapshot.recent.failed, '', 'In the last 30 to 60 seconds'),
        number('waiting', ({ client }) => client.snapshot.waiting, 'warn'),
        number('running', ({ client }) => client.snapshot.active, ''),
      ],
    });
    this.charts = new CallCharts();
    this.tables = callTables();
    this.element = el(
      'article',
      { class: 'details' },
      el('a', { class: 'back', text: '← all processes', href: `${location.pathname}#` }),
      this.head.element,
      this.facts.element,
      panel('By process', this.table.element),
      this.charts.element,
      panel('Last errors', this.tables.errors.element),
      panel(
        'Methods',
        this.tables.methods.element,
        el('p', { class: 'empty', text: 'Counts are sums. Each latency is the highest of all processes.' }),
      ),
      panel('Why calls failed', this.tables.failures.element, this.tables.notRetried.element),
    );
  }

  show(client, now) {
    const { snapshot } = client;
    const { recent, waiting, oldestWaitMs, active } = snapshot;
    this.head.show(client, client.assess());
    const share = recent.failed === 0 ? '0' : `${count(recent.failed)} (${percent(recent.failed, recent.ended)})`;
    this.facts.show([
      ['processes', count(client.parts.length)],
      ['calls', rate(client.rateNow('started'))],
      [`failed in ${age(recent.windowMs)}`, recent.ended === 0 ? NONE : share],
      ['waiting', count(waiting), waiting > 0 && 'warn'],
      ['oldest wait', waiting === 0 ? NONE : duration(oldestWaitMs), waiting > 0 && 'warn'],
      ['retries', rate(client.rateNow('retried'))],
      ['running', count(active)],
    ]);
    this.table.show(
      client.parts.toSorted((a, b) => b.assessment.rank - a.assessment.rank),
      now,
    );
    const windowMs = shownMs(client.oldest, now);
    const shown = { min: (now - windowMs) / 1_000, max: now / 1_000 };
    this.charts.draw((fields) => client.columns(fields, windowMs, now), shown);
    for (const table of Object.values(this.tables)) table.show(table.itemsOf(client.details), now);
  }
}
