/** A queue of integer pairs, each with a time. Allocates memory only to grow. */
export class Ring {
  #at = new Float64Array(1 << 10);
  #first = new Int32Array(1 << 10);
  #second = new Int32Array(1 << 10);
  #mask = (1 << 10) - 1;
  #head = 0;
  #tail = 0;
  /** Time of the first pair; Infinity if empty. */
  nextAt = Infinity;

  get size() {
    return this.#tail - this.#head;
  }

  /** The first integer of the first pair. */
  get first() {
    return this.#first[this.#head & this.#mask] ?? 0;
  }

  /** The second integer of the first pair. */
  get second() {
    return this.#second[this.#head & this.#mask] ?? 0;
  }

  /**
   * @param {number} at
   * @param {number} first
   * @param {number} second
   */
  push(at, first, second) {
    if (this.size > this.#mask) this.#grow();
    const place = this.#tail++ & this.#mask;
    this.#at[place] = at;
    this.#first[place] = first;
    this.#second[place] = second;
    if (this.size === 1) this.nextAt = at;
  }

  /** Drops the first pair. */
  shift() {
    this.#head++;
    this.nextAt = this.size === 0 ? Infinity : (this.#at[this.#head & this.#mask] ?? Infinity);
  }

  clear() {
    this.#head = this.#tail;
    this.nextAt = Infinity;
  }

  #grow() {
    const { size } = this;
    const length = 2 * (this.#mask + 1);
    const [at, first, second] = [new Float64Array(length), new Int32Array(length), new Int32Array(length)];
    for (let i = 0; i < size; i++) {
      const place = (this.#head + i) & this.#mask;
      at[i] = this.#at[place] ?? 0;
      first[i] = this.#first[place] ?? 0;
      second[i] = this.#second[place] ?? 0;
    }
    [this.#at, this.#first, this.#second, this.#mask] = [at, first, second, length - 1];
    [this.#head, this.#tail] = [0, size];
  }
}
