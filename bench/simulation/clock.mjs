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
    const timer = { at: ms > 0 ? this.time + Math.max(ms, MIN_STEP_MS) : this.time, order: this.#order++, task };
    if (timer.at !== Infinity) this.#push(timer);
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

  /** Time of the next timer; Infinity if none is set. */
  get nextAt() {
    const heap = this.#heap;
    for (let top = heap[0]; top !== undefined; top = heap[0]) {
      if (top.task !== undefined) return top.at;
      this.#pop();
    }
    return Infinity;
  }

  /** Runs the next timer. Must be called only after `time` has reached `nextAt`. */
  runNext() {
    const timer = this.#pop();
    timer?.task?.();
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
