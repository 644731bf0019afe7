import { ORDER_ID } from '../contract.mjs';

/** Calls a server at a pace, whatever becomes of the calls before. */
export class Caller {
  static PER_SECOND = 50;

  calls = 0;
  failed = 0;
  /** @type {(atMs: number) => void} */
  #answered = () => undefined;
  #open = 0;
  #noneOpen = () => undefined;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /**
   * @param {string} name Of the contender.
   * @param {'plain' | 'tuned'} setup
   * @param {import('../contenders.mjs').Contender} contender
   */
  constructor(name, setup, contender) {
    this.name = name;
    this.setup = setup;
    this.contender = contender;
  }

  /** @returns {Promise<unknown>} With the first answer. */
  begin() {
    this.#timer = setInterval(() => {
      this.#call();
    }, 1_000 / Caller.PER_SECOND);
    return this.nextAnswer();
  }

  /** @returns {Promise<number>} When it came, in milliseconds by the clock that all processes share. */
  nextAnswer() {
    return new Promise((resolve) => {
      this.#answered = resolve;
    });
  }

  /** @returns {Promise<void>} When the last call has ended. */
  end() {
    clearInterval(this.#timer);
    return new Promise((resolve) => {
      this.#noneOpen = resolve;
      if (this.#open === 0) resolve();
    });
  }

  #call() {
    this.calls++;
    this.#open++;
    this.contender.get(ORDER_ID, (error) => {
      if (error) this.failed++;
      else this.#answered(Number(process.hrtime.bigint()) / 1e6);
      if (--this.#open === 0) this.#noneOpen();
    });
  }
}
