import { Ring } from './ring.mjs';

/** @typedef {import('./clock.mjs').SimulatedClock} SimulatedClock */

/**
 * @typedef {object} ServerModel
 * @property {number} callsPerSecond Capacity in calls per second.
 * @property {number} queueMs Maximum queued work. Calls that would wait longer are rejected with UNAVAILABLE immediately.
 * @property {number} shedCost Cost of such a rejection, as a share of a call.
 * @property {number} handshakeCost Cost of a new connection in calls.
 */

/**
 * @typedef {object} ServerOwner
 * @property {(call: number, attempt: number, ok: boolean) => void} answer A response is sent.
 * @property {(connecting: number) => void} accepted A handshake is complete.
 */

/**
 * One server (or a cluster with one address) that processes one item at a time. It processes queued calls even if their callers no longer
 * wait. While both are queued, handshakes and calls each get half of its capacity.
 */
export class Server {
  #calls = new Ring();
  #handshakes = new Ring();
  /** Calls and handshakes that arrived during a stall, which the kernel accepts. */
  #unread = new Ring();
  #work = 0;
  /** The current item: a call and its attempt, or a handshake and -1. */
  #first = 0;
  #second = 0;
  /** Cost of rejected calls, added to the next item. */
  #owedMs = 0;
  /** Greater than 0 if handshakes got more than half of the capacity. */
  #balanceMs = 0;
  #pausedMs = 0;
  /** Time when the current item is done; Infinity if idle. */
  busyUntil = Infinity;
  isUp = true;
  isStalled = false;
  /** True if a proxy in front of it returns UNAVAILABLE for every call. */
  isUnreachable = false;
  /** Remaining share of the capacity. */
  capacity = 1;

  /**
   * @param {ServerModel} model
   * @param {ServerOwner} owner
   * @param {SimulatedClock} clock
   */
  constructor(model, owner, clock) {
    this.model = model;
    this.owner = owner;
    this.clock = clock;
  }

  get #callMs() {
    return 1_000 / (this.model.callsPerSecond * this.capacity);
  }

  /**
   * @param {number} call
   * @param {number} attempt
   */
  takeCall(call, attempt) {
    if (this.isUnreachable) {
      this.owner.answer(call, attempt, false);
    } else if (this.isStalled) {
      this.#unread.push(0, call, attempt);
    } else if (this.#calls.size * this.#callMs >= this.model.queueMs) {
      this.#owedMs += this.model.shedCost * this.#callMs;
      this.owner.answer(call, attempt, false);
    } else {
      this.#calls.push(0, call, attempt);
      this.#startNext();
    }
  }

  /** @param {number} connecting */
  takeHandshake(connecting) {
    if (this.isStalled) {
      this.#unread.push(0, connecting, -1);
      return;
    }
    this.#handshakes.push(0, connecting, -1);
    this.#startNext();
  }

  /** Completes the current item. */
  done() {
    this.busyUntil = Infinity;
    if (this.#second < 0) this.owner.accepted(this.#first);
    else this.owner.answer(this.#first, this.#second, true);
    this.#startNext();
  }

  /** Stops the server and drops all queued work. */
  stop() {
    this.isUp = false;
    this.#calls.clear();
    this.#handshakes.clear();
    this.#unread.clear();
    this.#owedMs = 0;
    this.busyUntil = Infinity;
  }

  start() {
    this.isUp = true;
  }

  stall() {
    this.isStalled = true;
    this.#pausedMs = this.busyUntil - this.clock.time;
    this.busyUntil = Infinity;
  }

  resume() {
    this.isStalled = false;
    this.busyUntil = this.clock.time + this.#pausedMs;
    for (let left = this.#unread.size; left > 0; left--) {
      const { first, second } = this.#unread;
      this.#unread.shift();
      if (second < 0) this.takeHandshake(first);
      else this.takeCall(first, second);
    }
  }

  #startNext() {
    if (this.busyUntil !== Infinity) return;
    const calls = this.#calls.size;
    const handshakes = this.#handshakes.size;
    if (calls === 0 && handshakes === 0) return;
    if (calls === 0 || handshakes === 0) this.#balanceMs = 0;
    const ring = handshakes > 0 && (calls === 0 || this.#balanceMs <= 0) ? this.#handshakes : this.#calls;
    let costMs = this.#callMs;
    if (ring === this.#handshakes) costMs *= this.model.handshakeCost;
    this.#balanceMs += ring === this.#handshakes ? costMs : -costMs;
    this.#first = ring.first;
    this.#second = ring.second;
    ring.shift();
    this.busyUntil = this.clock.time + costMs + this.#owedMs;
    this.#owedMs = 0;
  }
}
