import { copyButton } from './copy.js';
import { Details } from './details.js';
import { age, counted, moment } from './format.js';
import { LiveFeed } from './live-feed.js';
import { Overview } from './overview.js';
import { el, place, setAttribute, setText } from './parts.js';
import { ProcessState } from './process-state.js';
import { Servers } from './servers.js';

const HASH = '#client=';
/** Word and description for each state of the link to the application. */
const LINKS = {
  connecting: ['Connecting', 'Connecting to the application'],
  live: ['Live', ''],
  silent: ['No updates', 'Connected, but no updates arrive; the application may be busy or blocked'],
  unreachable: ['No response', 'Retrying, because the application does not respond'],
  ending: ['Shutting down', 'The application is shutting down'],
  forbidden: ['Forbidden', 'Access to this page was denied'],
  refused: ['Unexpected response', 'Retrying, because the server did not return dashboard data'],
};

/** Returns a sentence about a link that is not live, with the cause if the link has one. */
export function linkProblem({ state, text }) {
  return `${LINKS[state][1]}${text ? `: ${text}` : ''}.`;
}

/**
 * The dashboard, embeddable in any page. `onVerdict({ bad, all, link })` receives the number of unhealthy clients, the number of all shown
 * clients, and the link state.
 */
export class Dashboard {
  #state = new ProcessState();
  #link = { state: 'connecting' };
  #release;
  #known = false;
  #details;
  #focusDue = false;

  constructor(parent, { heading = 'h1', onVerdict = () => undefined } = {}) {
    this.onVerdict = onVerdict;
    this.status = el('p', { class: 'link', role: 'status' });
    this.clock = el('span', { class: 'dim' });
    this.process = el('span', { class: 'dim', title: 'Process that the data describes' });
    this.verdict = el('p', { class: 'verdict-line', role: 'status' });
    this.notice = el('p', { class: 'notice', role: 'alert', hidden: true });
    this.back = el('a', { class: 'back', text: '← all clients', href: this.#address('') });
    this.overview = new Overview((key) => this.#address(`${HASH}${encodeURIComponent(key)}`));
    this.empty = el('section', { class: 'panel empty-page' });
    this.view = el('div', { class: 'view' });
    this.servers = new Servers();
    this.actions = el(
      'p',
      { class: 'actions', hidden: true },
      copyButton('Copy the snapshot of all clients (JSON)', fetchSnapshot),
    );
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
    this.feed.listen(selectedClient());
    addEventListener('hashchange', () => this.#selectionChanged());
    addEventListener('keydown', (event) => handleKey(event, this.overview));
    // A canvas does not follow the page's color scheme automatically.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#details?.charts.redraw());
    new ResizeObserver(() => this.#show()).observe(this.view);
    setInterval(() => this.#show(), 500);
    this.#show();
  }

  /** Returns the key of the client whose details are shown: the selected one, or the only one. `undefined` if the overview is shown. */
  #shownKey() {
    return (
      selectedClient() ??
      (this.#state.clients.size === 1 && this.#state.total === 1 ? [...this.#state.clients.keys()][0] : undefined)
    );
  }

  #address(hash) {
    return `${location.pathname}${location.search}${hash === '' ? '#' : hash}`;
  }

  #selectionChanged() {
    this.feed.listen(this.#shownKey());
    this.listensTo = this.#shownKey();
    // Moves the focus as a new page would, after the view is shown.
    this.#focusDue = true;
    this.#show();
  }

  #take(event, data) {
    this.#state.take(event, data);
    if (event === 'snapshot') return this.#show();
    if (event === 'whole') {
      const { host, pid, release } = data.process;
      if (this.#release !== undefined && this.#release !== release) reloadFor(release);
      this.#release = release;
      setText(this.process, `${host}, process ${pid}`);
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

  #setLink(link) {
    this.#link = link;
    this.#show();
  }

  #show() {
    const { state } = this.#link;
    const fresh = state === 'live' || (state === 'ending' && Date.now() + this.#state.skew - this.#state.at < 3_000);
    // Ages of stale data do not advance.
    const now = fresh ? Math.max(Date.now() + this.#state.skew, this.#state.at) : this.#state.at;
    const [word] = LINKS[state];
    setText(this.status, word);
    setAttribute(this.status, 'data-state', state);
    setText(
      this.clock,
      this.#known
        ? fresh
          ? moment(now, now)
          : `as of ${moment(this.#state.at, this.#state.at)}, ${age(Date.now() + this.#state.skew - this.#state.at)} ago`
        : '',
    );
    const isFine = state === 'live' || (state === 'connecting' && !this.#known);
    this.notice.hidden = isFine;
    setText(this.notice, isFine ? '' : linkProblem(this.#link));
    this.element.classList.toggle('stale', this.#known && !fresh);
    const assessed = [...this.#state.clients.values()].map((client) => client.assess(now));
    const bad = assessed.filter(({ rank }) => rank >= 4).length;
    // A single client shows its own assessment.
    this.verdict.hidden = assessed.length < 2;
    setText(this.verdict, assessed.length < 2 ? '' : verdict(bad, assessed.length));
    setAttribute(this.verdict, 'data-tone', bad > 0 ? 'bad' : 'ok');
    this.onVerdict({ bad, all: assessed.length, link: state });
    this.servers.show(this.#state.servers, now);
    this.actions.hidden = bad === 0 && this.#state.servers.every(({ overload }) => overload.since === undefined);
    this.#showView(now);
  }

  #showView(now) {
    const key = this.#shownKey();
    const client = key === undefined ? undefined : this.#state.clients.get(key);
    // The details of a newly selected client arrive with the next full state.
    if (client?.snapshot.methods !== undefined) {
      if (this.detailsOf !== key) {
        this.#details?.charts.destroy();
        this.#details = new Details();
        this.detailsOf = key;
      }
      // Servers come first, except on the page of a selected client.
      const servers = this.servers.element;
      const isSelected = selectedClient() !== undefined;
      place(
        this.view,
        ...(isSelected ? [] : [servers]),
        ...(this.#state.clients.size > 1 ? [this.back] : []),
        this.#details.element,
        ...(isSelected ? [servers] : []),
      );
      this.#details.show(client, now);
      if (this.#focusDue) this.#details.head.focus();
      this.#focusDue = false;
      return;
    }
    if (key === undefined && this.#state.clients.size > 0) {
      place(this.view, this.servers.element, this.overview.element, this.actions);
      this.overview.show([...this.#state.clients.values()], this.#state.total, now);
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
    place(
      this.view,
      ...(key !== undefined && client === undefined && this.#state.clients.size > 0 ? [this.back] : []),
      this.empty,
      this.servers.element,
    );
  }
}

/** Handles a key: '/' moves the focus to the filter of the overview, and Escape deselects the client. */
function handleKey(event, overview) {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  if (event.key === '/' && overview.element.isConnected) {
    event.preventDefault();
    overview.focusFilter();
  } else if (event.key === 'Escape' && selectedClient() !== undefined) location.hash = '';
}

/** Returns the key of the selected client; `undefined` if none is selected. */
function selectedClient() {
  if (!location.hash.startsWith(HASH)) return undefined;
  const encoded = location.hash.slice(HASH.length);
  try {
    return decodeURIComponent(encoded);
  } catch {
    // Entered by hand, without URL encoding.
    return encoded;
  }
}

/** Fetches the snapshot of all clients as JSON text, because the page has the details of at most one client. */
async function fetchSnapshot() {
  const response = await fetch(new URL('snapshot', import.meta.url), { cache: 'no-store' });
  if (!response.ok) throw new Error(`the application responded with ${response.status}`);
  return JSON.stringify(await response.json(), null, 2);
}

/**
 * Reloads the page, because a page of another release may be unable to read the events. Reloads at most once per release and browser tab,
 * because the page would otherwise reload forever behind a load balancer that alternates between releases.
 */
function reloadFor(release) {
  const key = `nestjs-resilient-grpc.reloaded-for.${release}`;
  if (sessionStorage.getItem(key) !== null) return;
  sessionStorage.setItem(key, 'once');
  location.reload();
}

/** Returns a sentence with the number of unhealthy clients; an empty string if there are no clients. */
export function verdict(bad, all) {
  if (all === 0) return '';
  if (bad === 0) return all === 1 ? '1 client is healthy.' : `All ${counted(all, 'client')} are healthy.`;
  return `${bad} of ${counted(all, 'client')} ${bad === 1 ? 'is' : 'are'} unhealthy.`;
}
