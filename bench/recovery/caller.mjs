import { ORDER_ID } from '../contract.mjs';

export const CALLS_PER_SECOND = 50;

/** Calls a server at a constant rate, without waiting for earlier calls. */
export class Caller {
  calls = 0;
  failed = 0;
  /** @type {(atMs: number) => void} */
  #answered = () => undefined;
  #open = 0;
  #noneOpen = () => undefined;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /** @param {import('../contenders.mjs').Contender} contender */
  constructor(contender) {
    this.contender = contender;
  }

  /** @returns {Promise<unknown>} Resolves at the first successful response. */
  begin() {
    this.#timer = setInterval(() => {
      this.#call();
    }, 1_000 / CALLS_PER_SECOND);
    return this.nextAnswer();
  }

  /** @returns {Promise<number>} Time of the next successful response in milliseconds, on the clock that all processes share. */
  nextAnswer() {
    return new Promise((resolve) => {
      this.#answered = resolve;
    });
  }

  /** @returns {Promise<void>} Resolves when the last call has ended. */
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
