/** A heap of calls, ordered by the time at which they continue. */
export class CallHeap {
  /** @type {number[]} */
  #at = [];
  /** @type {number[]} */
  #calls = [];

  /** Time of the first call; Infinity if empty. */
  get nextAt() {
    return this.#at[0] ?? Infinity;
  }

  /**
   * @param {number} time
   * @param {number} call
   */
  push(time, call) {
    const [at, calls] = [this.#at, this.#calls];
    let place = at.length;
    at.push(time);
    calls.push(call);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = at[parent] ?? 0;
      if (above <= time) break;
      at[place] = above;
      calls[place] = calls[parent] ?? 0;
      place = parent;
    }
    at[place] = time;
    calls[place] = call;
  }

  /** Removes and returns the first call. */
  pop() {
    const [at, calls] = [this.#at, this.#calls];
    const first = calls[0] ?? -1;
    const time = at.pop() ?? 0;
    const call = calls.pop() ?? -1;
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
      calls[place] = calls[child] ?? 0;
      place = child;
    }
    at[place] = time;
    calls[place] = call;
    return first;
  }
}
