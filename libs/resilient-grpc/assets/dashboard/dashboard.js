import { ClientState } from './client-state.js';
import { Details } from './details.js';
import { age, counted, moment } from './format.js';
import { LiveFeed } from './live-feed.js';
import { Overview } from './overview.js';
import { el, setAttribute, setText } from './parts.js';

const HASH = '#client=';
const LINKS = {
  connecting: ['Connecting', 'Connecting to the application.'],
  live: ['Live', ''],
  silent: ['No updates', 'Connected, but no updates arrive; the application may be busy or blocked.'],
  unreachable: ['No response', 'The application does not respond; retrying.'],
  ending: ['Shutting down', 'The application is shutting down.'],
  forbidden: ['Forbidden', 'Access to this page was denied; the application responded with'],
  refused: ['Unexpected response', 'The server did not return dashboard data; retrying. Response:'],
};

/** The dashboard, embeddable in any page. `onVerdict({ bad, all, link })` receives the number of unhealthy clients and the link state. */
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
    this.process = el('span', { class: 'dim', title: 'Process that serves this page' });
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
      onLink: (link) => this.#setLink(link),
    });
    this.feed.listen(this.#selectedKey());
    addEventListener('hashchange', () => this.#selectionChanged());
    addEventListener('keydown', (event) => this.#key(event));
    // A canvas does not follow the page's color scheme automatically.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#details?.redraw());
    new ResizeObserver(() => this.#show()).observe(this.view);
    setInterval(() => this.#show(), 500);
    this.#show();
  }

  #selectedKey() {
    if (!location.hash.startsWith(HASH)) return undefined;
    const encoded = location.hash.slice(HASH.length);
    try {
      return decodeURIComponent(encoded);
    } catch {
      // Entered by hand, without URL encoding.
      return encoded;
    }
  }

  /** Key of the client whose details are shown: the selected one, or the only one. */
  #shownKey() {
    return (
      this.#selectedKey() ?? (this.#clients.size === 1 && this.#total === 1 ? [...this.#clients.keys()][0] : undefined)
    );
  }

  #address(hash) {
    return `${location.pathname}${location.search}${hash === '' ? '#' : hash}`;
  }

  #selectionChanged() {
    this.feed.listen(this.#shownKey());
    this.listensTo = this.#shownKey();
    // Moves the focus as a new page would, once the view is shown.
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
      const updated = new Set();
      for (const { key, ...properties } of data.clients) {
        this.#client(key).take(properties, at);
        updated.add(key);
      }
      // Unchanged counters are sampled, too.
      for (const [key, client] of this.#clients) if (!updated.has(key)) client.take({}, at);
    }
    this.#known = true;
    // A single client is shown in full without a selection.
    const shown = this.#shownKey();
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

  #setLink(link) {
    this.#link = link;
    this.#show();
  }

  #show() {
    const { state, text } = this.#link;
    const fresh = state === 'live' || (state === 'ending' && Date.now() + this.#skew - this.#at < 3_000);
    // Ages of stale data do not advance.
    const now = fresh ? Math.max(Date.now() + this.#skew, this.#at) : this.#at;
    const [word, sentence] = LINKS[state];
    setText(this.status, word);
    setAttribute(this.status, 'data-state', state);
    setText(
      this.clock,
      this.#known
        ? fresh
          ? moment(now, now)
          : `as of ${moment(this.#at, this.#at)}, ${age(Date.now() + this.#skew - this.#at)} ago`
        : '',
    );
    this.notice.hidden = state === 'live' || (state === 'connecting' && !this.#known);
    setText(this.notice, this.notice.hidden ? '' : text === undefined ? sentence : `${sentence} ${text}.`);
    this.element.classList.toggle('stale', this.#known && !fresh);
    const assessed = [...this.#clients.values()].map((client) => client.assess(now));
    const bad = assessed.filter(({ rank }) => rank >= 4).length;
    // A single client shows its own assessment.
    this.verdict.hidden = assessed.length < 2;
    setText(this.verdict, assessed.length < 2 ? '' : verdict(bad, assessed.length));
    setAttribute(this.verdict, 'data-tone', bad > 0 ? 'bad' : 'ok');
    this.onVerdict({ bad, all: assessed.length, link: state });
    this.#showView(now);
  }

  #showView(now) {
    const key = this.#shownKey();
    const client = key === undefined ? undefined : this.#clients.get(key);
    // The details of a client that was not open arrive with the next full state.
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
      ? ['', this.#link.state === 'connecting' ? 'Waiting for the first data…' : '']
      : key !== undefined && client === undefined
        ? [`There is no client ‘${key}’.`, 'It was closed, or the link belongs to another application.']
        : client === undefined
          ? [
              'No clients yet.',
              'Clients appear here when the application creates them: ResilientGrpcModule.forFeature([...]), or GrpcClients.create().',
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
    const current = [...this.view.children];
    if (current.length === elements.length && current.every((element, i) => element === elements[i])) return;
    this.view.replaceChildren(...elements);
  }

  #key(event) {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '/' && !typing && this.overview.element.isConnected) {
      event.preventDefault();
      this.overview.focusFilter();
    } else if (event.key === 'Escape' && !typing && this.#selectedKey() !== undefined) location.hash = '';
  }
}

/**
 * Reloads the page, because only the page of a release can read its events. Once per release: behind a load balancer that alternates
 * between releases, the page would reload forever.
 */
function reloadFor(release) {
  const key = `nestjs-resilient-grpc.reloaded-for.${release}`;
  if (sessionStorage.getItem(key) !== null) return;
  sessionStorage.setItem(key, 'once');
  location.reload();
}

function verdict(bad, all) {
  if (bad === 0) return `All ${counted(all, 'client')} are healthy.`;
  return `${bad} of ${counted(all, 'client')} ${bad === 1 ? 'is' : 'are'} unhealthy.`;
}
