import { ClientState } from './client-state.js';
import { Details } from './details.js';
import { age, counted, moment } from './format.js';
import { LiveFeed } from './live-feed.js';
import { Overview } from './overview.js';
import { el, setAttribute, setText } from './parts.js';

const HASH = '#client=';
const LINKS = {
  connecting: ['Connecting', 'asking the application how its clients are'],
  live: ['Live', ''],
  silent: ['Silent', 'The connection is there, and the application says nothing: it is busy, or frozen.'],
  away: ['No answer', 'The application does not answer; trying again.'],
  ending: ['Shutting down', 'The application is shutting down: it takes no new work.'],
  forbidden: ['Forbidden', 'You may not see this page (any more): the application answered'],
  refused: ['Refused', 'Something else than the dashboard answers; trying again:'],
};

/** The dashboard, in any page. `onVerdict({ bad, all, link })` is told how things are. */
export class Dashboard {
  #clients = new Map();
  #total = 0;
  #link = { state: 'connecting' };
  #at = 0;
  #skew = 0;
  #release;
  #fields = [];
  #known = false;
  #details;
  #focusDue = false;

  constructor(parent, { heading = 'h1', onVerdict = () => undefined } = {}) {
    this.onVerdict = onVerdict;
    this.status = el('p', { class: 'link', role: 'status' });
    this.clock = el('span', { class: 'dim' });
    this.process = el('span', { class: 'dim', title: 'The process that answers' });
    this.verdict = el('p', { class: 'verdict-line', role: 'status' });
    this.notice = el('p', { class: 'notice', role: 'alert', hidden: true });
    this.back = el('a', { class: 'back', text: '← all clients', href: this.#address('') });
    this.overview = new Overview((key) => this.#address(`${HASH}${encodeURIComponent(key)}`));
    this.empty = el('section', { class: 'panel empty-page' });
    this.view = el('div', { class: 'view' });
    this.element = el(
      'div',
      { class: 'dashboard' },
      el('header', { class: 'top' }, el(heading, { text: 'gRPC clients' }), this.status, this.clock, this.process),
      this.notice,
      this.verdict,
      this.view,
    );
    parent.append(this.element);
    this.feed = new LiveFeed(import.meta.url, {
      onData: (event, data) => this.#take(event, data),
      onLink: (link) => this.#linked(link),
    });
    this.feed.listen(this.#chosen());
    addEventListener('hashchange', () => this.#chose());
    addEventListener('keydown', (event) => this.#key(event));
    // Canvas does not follow the colours of the page by itself.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#details?.redraw());
    new ResizeObserver(() => this.#show()).observe(this.view);
    setInterval(() => this.#show(), 500);
    this.#show();
  }

  #chosen() {
    if (!location.hash.startsWith(HASH)) return undefined;
    const written = location.hash.slice(HASH.length);
    try {
      return decodeURIComponent(written);
    } catch {
      // Somebody wrote it who did not know how it is written.
      return written;
    }
  }

  /** Key of the client whose details are shown: the chosen one, or the only one. */
  #shown() {
    return this.#chosen() ?? (this.#clients.size === 1 && this.#total === 1 ? [...this.#clients.keys()][0] : undefined);
  }

  #address(hash) {
    return `${location.pathname}${location.search}${hash === '' ? '#' : hash}`;
  }

  #chose() {
    this.feed.listen(this.#shown());
    this.listensTo = this.#shown();
    // As on a page of its own; when it is there.
    this.#focusDue = true;
    this.#show();
  }

  #take(event, data) {
    const at = typeof data.at === 'string' ? Date.parse(data.at) : data.at;
    this.#at = at;
    this.#skew = at - Date.now();
    if (event === 'snapshot') {
      for (const properties of data.clients) this.#clients.get(properties.name)?.take(properties, at);
      return this.#show();
    }
    this.#total = data.total;
    if (event === 'whole') this.#takeWhole(data, at);
    else {
      for (const key of data.gone) this.#clients.delete(key);
      const told = new Set();
      for (const { key, ...properties } of data.clients) {
        this.#client(key).take(properties, at);
        told.add(key);
      }
      // Counts that did not change are a sample all the same.
      for (const [key, client] of this.#clients) if (!told.has(key)) client.take({}, at);
    }
    this.#known = true;
    // The only client is shown in full without being asked for.
    const shown = this.#shown();
    if (shown !== this.listensTo) {
      this.listensTo = shown;
      this.feed.listen(shown);
    }
    this.#show();
  }

  #takeWhole(data, at) {
    const { host, pid, release } = data.process;
    if (this.#release !== undefined && this.#release !== release) reloadFor(release);
    this.#release = release;
    setText(this.process, `${host}, process ${pid}`);
    this.#fields = data.sampleFields;
    const keys = new Set(data.clients.map(({ key }) => key));
    for (const key of this.#clients.keys()) if (!keys.has(key)) this.#clients.delete(key);
    for (const { key, ...properties } of data.clients) this.#client(key).takeWhole(properties);
    for (const [key, rows] of data.samples) this.#client(key).takeSamples(rows);
    for (const client of this.#clients.values()) client.take({}, at);
  }

  #client(key) {
    let client = this.#clients.get(key);
    if (client === undefined) this.#clients.set(key, (client = new ClientState(key, this.#fields)));
    return client;
  }

  #linked(link) {
    this.#link = link;
    this.#show();
  }

  #show() {
    const { state, text } = this.#link;
    const fresh = state === 'live' || (state === 'ending' && Date.now() + this.#skew - this.#at < 3_000);
    // What is old stays as it was: nothing of it goes on by itself.
    const now = fresh ? Math.max(Date.now() + this.#skew, this.#at) : this.#at;
    const [word, sentence] = LINKS[state];
    setText(this.status, word);
    setAttribute(this.status, 'data-state', state);
    setText(
      this.clock,
      this.#known
        ? fresh
          ? moment(now, now)
          : `as it was at ${moment(this.#at, this.#at)}, ${age(Date.now() + this.#skew - this.#at)} ago`
        : '',
    );
    this.notice.hidden = state === 'live' || (state === 'connecting' && !this.#known);
    setText(this.notice, this.notice.hidden ? '' : text === undefined ? sentence : `${sentence} ${text}.`);
    this.element.classList.toggle('stale', this.#known && !fresh);
    const assessed = [...this.#clients.values()].map((client) => client.assess(now));
    const bad = assessed.filter(({ rank }) => rank >= 4).length;
    // One client says so itself.
    this.verdict.hidden = assessed.length < 2;
    setText(this.verdict, assessed.length < 2 ? '' : verdict(bad, assessed.length));
    setAttribute(this.verdict, 'data-tone', bad > 0 ? 'bad' : 'ok');
    this.onVerdict({ bad, all: assessed.length, link: state });
    this.#showView(now);
  }

  #showView(now) {
    const key = this.#shown();
    const client = key === undefined ? undefined : this.#clients.get(key);
    // Those of a client that was not looked at come with the next whole.
    if (client?.snapshot.methods !== undefined) {
      if (this.detailsOf !== key) {
        this.#details?.destroy();
        this.#details = new Details();
        this.detailsOf = key;
      }
      this.#place(...(this.#clients.size > 1 ? [this.back] : []), this.#details.element);
      this.#details.show(client, now);
      if (this.#focusDue) this.#details.focus();
      this.#focusDue = false;
      return;
    }
    if (key === undefined && this.#clients.size > 0) {
      this.#place(this.overview.element);
      this.overview.show([...this.#clients.values()], this.#total, now);
      if (this.#focusDue) this.overview.focus(this.detailsOf);
      this.#focusDue = false;
      return;
    }
    const texts = !this.#known
      ? ['', this.#link.state === 'connecting' ? 'Waiting for the first figures…' : '']
      : key !== undefined && client === undefined
        ? [`There is no client ‘${key}’ (any more).`, 'It was closed, or the address is of another application.']
        : client === undefined
          ? [
              'No clients yet.',
              'They appear here when the application makes them: ResilientGrpcModule.forFeature([...]), or GrpcClients.create().',
            ]
          : ['', 'Waiting for the details…'];
    if (this.empty.dataset.text !== texts.join()) {
      this.empty.dataset.text = texts.join();
      this.empty.replaceChildren(el('h2', { text: texts[0], hidden: texts[0] === '' }), el('p', { text: texts[1] }));
    }
    this.#place(
      ...(key !== undefined && client === undefined && this.#clients.size > 0 ? [this.back] : []),
      this.empty,
    );
  }

  #place(...elements) {
    const is = [...this.view.children];
    if (is.length === elements.length && is.every((element, i) => element === elements[i])) return;
    this.view.replaceChildren(...elements);
  }

  #key(event) {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '/' && !typing && this.overview.element.isConnected) {
      event.preventDefault();
      this.overview.focusFilter();
    } else if (event.key === 'Escape' && !typing && this.#chosen() !== undefined) location.hash = '';
  }
}

/**
 * What another release says only its own page knows how to read. Once for each: behind a balancer that asks now this one, now that one, the
 * page would do nothing else.
 */
function reloadFor(release) {
  const key = `nestjs-resilient-grpc.reloaded-for.${release}`;
  if (sessionStorage.getItem(key) !== null) return;
  sessionStorage.setItem(key, 'once');
  location.reload();
}

function verdict(bad, all) {
  if (bad === 0) return `All ${counted(all, 'client')} are well.`;
  return `${bad} of ${counted(all, 'client')} ${bad === 1 ? 'is' : 'are'} in trouble.`;
}
