// Building blocks of pages. External strings are set as text, never as markup.

/** Creates an element with attributes, `text`, event listeners (`on…`), and children. */
export function el(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Sets the text of an element only if it changed, so that screen readers do not repeat it and selections are kept. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Children of `parent`, one per item, reused by key and kept in the order of the items. */
export class Children {
  #known = new Map();

  constructor(parent, create) {
    this.parent = parent;
    this.create = create;
  }

  show(items, keyOf, ...more) {
    const keys = new Set();
    let before = null;
    for (const item of items) {
      const key = keyOf(item);
      keys.add(key);
      let known = this.#known.get(key);
      if (known === undefined) this.#known.set(key, (known = this.create(item)));
      // Moved only if needed, because moving an element removes its focus.
      const position = before === null ? this.parent.firstElementChild : before.nextElementSibling;
      if (position !== known.element) this.parent.insertBefore(known.element, position);
      known.show(item, ...more);
      before = known.element;
    }
    for (const [key, { element }] of this.#known) {
      if (keys.has(key)) continue;
      element.remove();
      this.#known.delete(key);
    }
  }
}

/**
 * A table of `columns`: { title, text(item, now), note?, hint?, tone?, number?, cell?, order?, href? }. `note` explains the title, `hint`
 * explains an item, and `href(item)` returns the URL to which the cell links. `sortBy` is the title of the column to sort by; if it is
 * given, columns with `order(item)` are sortable. `empty` is shown instead if there are no items.
 */
export class Table {
  #descending = true;

  constructor({ label, columns, keyOf, empty, sortBy }) {
    this.columns = columns;
    this.keyOf = keyOf;
    this.sorted = columns.find(({ title }) => title === sortBy);
    this.heads = columns.map((column) => this.#head(column));
    this.body = el('tbody');
    this.scroll = el(
      'div',
      { class: 'scroll' },
      el('table', { 'aria-label': label }, el('thead', {}, el('tr', {}, ...this.heads)), this.body),
    );
    this.empty = el('p', { class: 'empty', text: empty });
    this.element = el('div', {}, this.scroll, this.empty);
    this.rows = new Children(this.body, () => this.#row());
  }

  show(items, now) {
    this.items = items;
    this.now = now;
    this.scroll.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
    const order = this.sorted?.order;
    const rows = order ? items.toSorted((a, b) => (this.#descending ? -1 : 1) * compare(order(a), order(b))) : items;
    this.rows.show(rows, this.keyOf, now);
    this.heads.forEach((head, i) => {
      const isSorted = this.columns[i] === this.sorted && order !== undefined;
      if (this.sorted && this.columns[i].order)
        setAttribute(head, 'aria-sort', isSorted ? (this.#descending ? 'descending' : 'ascending') : 'none');
    });
  }

  #head(column) {
    const { title, note, number } = column;
    const order = this.sorted && column.order;
    const head = el('th', { scope: 'col', class: number && 'number', title: note });
    if (order === undefined) head.textContent = title;
    else head.append(el('button', { type: 'button', class: 'sort', text: title, onclick: () => this.#sortBy(column) }));
    return head;
  }

  #sortBy(column) {
    this.#descending = this.sorted === column ? !this.#descending : Boolean(column.number);
    this.sorted = column;
    this.show(this.items, this.now);
  }

  #row() {
    const cells = this.columns.map(({ title, number, cell }) =>
      el('td', { class: number ? 'number' : cell, 'data-title': title }),
    );
    const links = this.columns.map(({ href }, i) => href && cells[i].appendChild(el('a')));
    return {
      element: el('tr', {}, ...cells),
      show: (item, now) => {
        this.columns.forEach(({ text, tone, hint }, i) => {
          setText(links[i] ?? cells[i], String(text(item, now)));
          if (links[i]) setAttribute(links[i], 'href', this.columns[i].href(item));
          if (hint) setAttribute(cells[i], 'title', hint(item));
          if (tone) setAttribute(cells[i], 'data-tone', tone(item) ?? '');
        });
      },
    };
  }
}

function compare(a, b) {
  return typeof a === 'number' ? a - b : String(a).localeCompare(String(b));
}

/** Replaces the children of `parent` only if they differ, because moving an element removes its focus. */
export function place(parent, ...elements) {
  const { children } = parent;
  if (children.length !== elements.length || elements.some((element, i) => element !== children[i]))
    parent.replaceChildren(...elements);
}

/** Creates a titled section of the page. */
export function section(heading, title, ...children) {
  return el('section', { class: 'panel', 'aria-label': title }, el(heading, { text: title }), ...children);
}

/** Creates a titled section of a client's details. */
export function panel(title, ...children) {
  return section('h3', title, ...children);
}

/** Remaining tokens and their maximum. */
export class Meter {
  constructor(label, note) {
    this.meter = el('meter', { 'aria-label': label, min: '0' });
    this.text = el('b');
    this.element = el('div', { class: 'meter', title: note }, el('span', { text: label }), this.meter, this.text);
  }

  show({ tokens, maxTokens, allows }) {
    this.meter.max = maxTokens;
    // The meter has the warning color only if the tokens do not suffice for another retry or hedge.
    this.meter.low = allows === false ? maxTokens : 0;
    this.meter.optimum = maxTokens;
    this.meter.value = tokens;
    setText(this.text, `${Math.floor(tokens * 10) / 10} of ${maxTokens}`);
  }
}
