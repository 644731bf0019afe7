/**
 * A heap of items, ordered by the time at which they are due.
 *
 * @template T
 */
export class TimedHeap {
  /** @type {number[]} */
  #at = [];
  /** @type {T[]} */
  #items = [];

  /** Time of the first item; Infinity if empty. */
  get nextAt() {
    return this.#at[0] ?? Infinity;
  }

  /**
   * @param {number} time
   * @param {T} item
   */
  push(time, item) {
    const [at, items] = [this.#at, this.#items];
    let place = at.length;
    at.push(time);
    items.push(item);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = at[parent] ?? 0;
      if (above <= time) break;
      at[place] = above;
      items[place] = /** @type {T} */ (items[parent]);
      place = parent;
    }
    at[place] = time;
    items[place] = item;
  }

  /** Removes and returns the first item. The heap must not be empty. */
  pop() {
    const [at, items] = [this.#at, this.#items];
    // The casts are safe: the heap has an item.
    const first = /** @type {T} */ (items[0]);
    const time = at.pop() ?? 0;
    const item = /** @type {T} */ (items.pop());
    const length = at.length;
    if (length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= length) break;
      if (child + 1 < length && (at[child + 1] ?? 0) < (at[child] ?? 0)) child++;
      const below = at[child] ?? 0;
      if (below >= time) break;
      at[place] = below;
      items[place] = /** @type {T} */ (items[child]);
      place = child;
    }
    at[place] = time;
    items[place] = item;
    return first;
  }
}
