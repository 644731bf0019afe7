import { STATES } from './client-state.js';
import { age, counted, duration, moment } from './format.js';
import { Children, el, setAttribute, setText } from './parts.js';

/** Creates the legend entry of a state: a swatch with the state's color and pattern, followed by its word and `more`. */
function keyOfState(state, ...more) {
  const { word, tone } = STATES[state];
  const swatch = el('i', { class: 'stretch', 'data-tone': tone, 'data-state': state, 'aria-hidden': 'true' });
  return el('span', {}, swatch, word, ...more);
}

/** Creates the legend for the colors and patterns of strips. It omits SHUTDOWN, because a closed client is removed soon. */
export function stateKey() {
  return el(
    'p',
    { class: 'legend state-key' },
    ...Object.keys(STATES)
      .filter((state) => state !== 'SHUTDOWN')
      .map((state) => keyOfState(state)),
  );
}

/** Returns the states since `begin` as stretches: { state, from, to, cause }, oldest first. */
export function stretches({ history, connectivity, createdAt }, begin, now) {
  const all = [];
  let state = history[0]?.from ?? connectivity.state;
  // If the history is full, the start of the state before its first change is unknown.
  let from = history.length < 100 ? Date.parse(createdAt) : Date.parse(history[0].at);
  let cause;
  for (const change of history) {
    const at = Date.parse(change.at);
    all.push({ state, from, to: at, cause });
    ({ to: state, cause } = change);
    from = at;
  }
  all.push({ state, from, to: now, cause });
  return all.filter(({ to }) => to > begin).map((stretch) => ({ ...stretch, from: Math.max(stretch.from, begin) }));
}

/** Shows the state over time by color, pattern, and word (if it fits). */
export class StateStrip {
  constructor() {
    this.bar = el('div', { class: 'strip', role: 'img' });
    this.element = this.bar;
    this.parts = new Children(this.bar, () => new Stretch());
  }

  /** Shows the last `ms` milliseconds. */
  show(snapshot, now, ms) {
    const all = stretches(snapshot, now - ms, now);
    const none = { state: undefined, from: now - ms, to: all[0].from };
    const keyOf = ({ state, from }) => (state === undefined ? 'none' : from > now - ms ? from : 'first');
    this.parts.show(none.to > none.from ? [none, ...all] : all, keyOf, now, ms);
    const { state, since } = snapshot.connectivity;
    const changes = counted(all.length - 1, 'state change');
    setAttribute(this.bar, 'aria-label', `${changes} in ${duration(ms)}; ${state} since ${moment(since, now)}`);
  }
}

/** The states of a strip in words, each with its total duration, because parts of the strip can be too narrow for a word. */
export class StateTotals {
  constructor() {
    this.element = el('p', { class: 'legend state-key' });
    this.totals = new Children(this.element, ([state]) => {
      const total = el('b');
      return {
        element: keyOfState(state, ' ', total),
        show: ([, ms]) => setText(total, age(ms)),
      };
    });
  }

  show(snapshot, now, ms) {
    const totals = new Map();
    for (const { state, from, to } of stretches(snapshot, now - ms, now))
      totals.set(state, (totals.get(state) ?? 0) + to - from);
    this.totals.show([...totals], ([state]) => state);
  }
}

class Stretch {
  constructor() {
    this.word = el('span');
    this.element = el('div', { class: 'stretch' }, this.word);
  }

  show({ state, from, to, cause }, now, ms) {
    const share = ((to - from) / ms) * 100;
    const { word, tone } = state === undefined ? { word: '', tone: 'none' } : STATES[state];
    setAttribute(this.element, 'data-tone', tone);
    setAttribute(this.element, 'data-state', state ?? 'none');
    this.element.style.flexGrow = String(Math.max(share, 0.01));
    setText(this.word, word);
    if (state === undefined) setAttribute(this.element, 'title', 'no data');
    else {
      const until = to === now ? 'now' : moment(to, now);
      const why = cause === undefined ? '' : `\n${cause}`;
      setAttribute(this.element, 'title', `${state} for ${age(to - from)}, ${moment(from, now)} to ${until}${why}`);
    }
  }
}
