/**
 * @typedef {object} SimulatedTimer
 * @property {number} at
 * @property {number} order
 * @property {(() => void) | undefined} task `undefined` after the timer was cleared.
 */

// Time at which the simulation starts, in milliseconds since 1970. A real date gives deadlines a realistic magnitude.
const EPOCH = Date.UTC(2026, 0, 1);

const MIN_STEP_MS = 0.001;

/** The library's clock in virtual time, for tens of thousands of timers: a heap from which cleared timers are removed lazily. */
export class SimulatedClock {
  /** @type {SimulatedTimer[]} */
  #heap = [];
  /** @type {(() => void)[]} */
  #soon = [];
  #order = 0;
  /** Milliseconds since the start. */
  time = 0;

  now() {
    return this.time;
  }

  epoch() {
    return EPOCH + this.time;
  }

  /**
   * @param {() => void} task
   * @param {number} ms
   * @returns {{ clear(): void }}
   */
  setTimer(task, ms) {
    // A positive delay is at least MIN_STEP_MS, so that code that sets a timer for a remaining time always makes progress despite rounding.
    return this.runAt(ms > 0 ? this.time + Math.max(ms, MIN_STEP_MS) : this.time, task);
  }

  /**
   * Runs `task` at `at`, after the tasks that were set earlier for the same time; never if `at` is Infinity.
   *
   * @param {number} at
   * @param {() => void} task
   * @returns {{ clear(): void }}
   */
  runAt(at, task) {
    const timer = { at, order: this.#order++, task };
    if (at !== Infinity) this.#push(timer);
    return {
      clear() {
        timer.task = undefined;
      },
    };
  }

  /** @param {() => void} task */
  defer(task) {
    this.#soon.push(task);
  }

  /** Runs all tasks that are due until `endMs`. @param {number} endMs */
  run(endMs) {
    this.runDeferred();
    for (let next = this.#heap[0]; next !== undefined && next.at <= endMs; next = this.#heap[0]) {
      this.#pop();
      if (next.task === undefined) continue;
      this.time = next.at;
      next.task();
      this.runDeferred();
    }
    this.time = endMs;
  }

  /** Runs all deferred tasks, including those that they defer. */
  runDeferred() {
    if (this.#soon.length === 0) return;
    for (let i = 0; i < this.#soon.length; i++) this.#soon[i]?.();
    this.#soon = [];
  }

  /** @param {SimulatedTimer} timer */
  #push(timer) {
    const heap = this.#heap;
    let place = heap.length;
    heap.push(timer);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = /** @type {SimulatedTimer} */ (heap[parent]);
      if (!isBefore(timer, above)) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = timer;
  }

  #pop() {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || last === top) return top;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      let below = /** @type {SimulatedTimer} */ (heap[child]);
      if (right !== undefined && isBefore(right, below)) {
        below = right;
        child++;
      }
      if (!isBefore(below, last)) break;
      heap[place] = below;
      place = child;
    }
    heap[place] = last;
    return top;
  }
}

/**
 * @param {SimulatedTimer} a
 * @param {SimulatedTimer} b
 */
function isBefore(a, b) {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/**
 * Calls `arrive` at random times (a Poisson process), which are identical for every policy.
 *
 * @param {SimulatedClock} clock
 * @param {() => number} random
 * @param {() => number} perMs Current number of arrivals per millisecond.
 * @param {() => void} arrive
 */
export function startTraffic(clock, random, perMs, arrive) {
  const next = () => {
    clock.runAt(clock.time - Math.log(1 - random()) / perMs(), () => {
      arrive();
      next();
    });
  };
  next();
}
