import { faultsOf, shownMs } from './client-state.js';
import { count, counted, duration, NONE, percent, rate } from './format.js';
import { Children, el, setAttribute, setText } from './parts.js';
import { StateStrip, stateKey } from './state-strip.js';

const COLUMNS = [
  ['Client', ''],
  ['State', 'Connection state over time'],
  ['Calls', 'Started per second'],
  ['Failed', 'Among the calls that ended in the last 30 to 60 seconds'],
  ['Waiting', 'Calls waiting for a connection, and the longest wait'],
  ['Running', 'Open calls and streams'],
];

/** Overview of all clients, the worst first. */
export class Overview {
  /** `linkTo(key)` returns the URL of a client's details. */
  constructor(linkTo) {
    this.linkTo = linkTo;
    this.input = el('input', {
      type: 'search',
      id: 'filter',
      placeholder: 'orders',
      autocomplete: 'off',
      spellcheck: 'false',
      oninput: () => this.#show(),
      onkeydown: (event) => this.#filterKey(event),
    });
    this.counted = el('span', { class: 'dim', role: 'status' });
    this.filter = el(
      'p',
      { class: 'filter' },
      el('label', { for: 'filter', text: 'Name contains' }),
      this.input,
      this.counted,
    );
    this.body = el('tbody', { onkeydown: (event) => this.#walk(event) });
    const heads = COLUMNS.map(([text, title]) => el('th', { scope: 'col', text, title: title || undefined }));
    this.window = heads[1];
    this.key = stateKey();
    this.table = el(
      'table',
      { class: 'clients', 'aria-label': 'Clients' },
      el('thead', {}, el('tr', {}, ...heads)),
      this.body,
    );
    this.none = el('p', { class: 'empty' });
    this.element = el(
      'section',
      { class: 'panel', 'aria-label': 'Clients' },
      this.filter,
      this.table,
      this.none,
      this.key,
    );
    this.rows = new Children(this.body, ({ key }) => new Row(key, this.linkTo(key)));
  }

  show(clients, total, now) {
    this.clients = clients;
    this.total = total;
    this.now = now;
    this.#show();
  }

  /** Moves the focus to the client that was open, or to the first one. */
  focus(key) {
    const links = [...this.body.querySelectorAll('a')];
    (links.find((link) => link.textContent === key) ?? links[0])?.focus();
  }

  /** Moves the focus to the filter. Called when the '/' key is pressed. */
  focusFilter() {
    this.input.focus();
    this.input.select();
  }

  #show() {
    const text = this.input.value.trim().toLowerCase();
    const { clients, total, now } = this;
    const matching = clients.filter(({ key }) => key.toLowerCase().includes(text));
    this.filter.hidden = clients.length < 2;
    this.table.hidden = matching.length === 0;
    this.key.hidden = matching.length === 0;
    this.none.hidden = matching.length > 0;
    setText(this.none, `No client name contains ‘${this.input.value.trim()}’.`);
    const shown = text === '' ? '' : `${count(matching.length)} of ${counted(clients.length, 'client')}`;
    const more =
      total > clients.length ? `showing ${clients.length} of ${total} clients, those with problems first` : '';
    setText(this.counted, [shown, more].filter(Boolean).join('; '));
    const windowMs = shownMs(Math.min(...clients.map(({ oldest }) => oldest)), now);
    setText(this.window, `Last ${duration(windowMs)}`);
    const rows = matching
      .map((client) => ({ client, key: client.key, assessment: client.assess(now) }))
      .sort((a, b) => b.assessment.rank - a.assessment.rank || a.key.localeCompare(b.key));
    this.rows.show(rows, ({ key }) => key, now, windowMs);
  }

  /** Handles keys in the filter: Escape clears the filter, the down arrow key moves to the first client, and Enter opens that client. */
  #filterKey(event) {
    const first = this.body.querySelector('a');
    if (event.key === 'Escape') {
      this.input.value = '';
      this.#show();
    } else if (event.key === 'ArrowDown') first?.focus();
    else if (event.key === 'Enter') first?.click();
    else return;
    event.preventDefault();
  }

  /** Moves the focus between clients with the up and down arrow keys. */
  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...this.body.querySelectorAll('a')];
    const at = links.indexOf(document.activeElement);
    if (step === undefined || at < 0) return;
    event.preventDefault();
    links[Math.min(Math.max(at + step, 0), links.length - 1)].focus();
  }
}

class Row {
  constructor(key, href) {
    this.link = el('a', { href, text: key });
    this.word = el('b', { class: 'state' });
    this.target = el('span', { class: 'target' });
    this.sentence = el('p', { class: 'sentence' });
    this.strip = new StateStrip();
    this.cells = COLUMNS.slice(2).map(([title]) => el('td', { class: 'number', 'data-title': title }));
    this.element = el(
      'tr',
      {},
      el('th', { scope: 'row' }, this.word, ' ', this.link, this.target, this.sentence),
      el('td', { class: 'strip-cell' }, this.strip.element),
      ...this.cells,
    );
  }

  show({ client, assessment }, now, windowMs) {
    const { snapshot } = client;
    const { recent, waiting, oldestWaitMs, active } = snapshot;
    setAttribute(this.element, 'data-tone', assessment.tone);
    setText(this.word, assessment.word);
    setText(this.target, snapshot.target);
    setText(this.sentence, assessment.sentence);
    this.strip.show(snapshot, now, windowMs);
    const failed = recent.failed === 0 ? '0' : `${count(recent.failed)} (${percent(recent.failed, recent.ended)})`;
    const texts = [
      rate(client.rateNow('started')),
      recent.ended === 0 ? NONE : failed,
      waiting === 0 ? '0' : `${count(waiting)}, ${duration(oldestWaitMs)}`,
      count(active),
    ];
    const tones = ['', faultsOf(recent.codes) > 0 ? 'bad' : '', waiting > 0 ? 'warn' : '', ''];
    this.cells.forEach((cell, i) => {
      setText(cell, texts[i]);
      setAttribute(cell, 'data-tone', tones[i]);
    });
  }
}
