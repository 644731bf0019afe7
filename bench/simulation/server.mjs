import { Ring } from './ring.mjs';

/** @typedef {import('./clock.mjs').SimulatedClock} SimulatedClock */

/**
 * @typedef {object} ServerModel
 * @property {number} callsPerSecond Its capacity: calls it can answer in a second.
 * @property {number} queueMs Work it takes in before it sheds load: what would wait longer is answered UNAVAILABLE at once.
 * @property {number} shedCost Work of answering so, as a share of a call.
 * @property {number} handshakeCost Work of a connection that is made, in calls.
 */

/**
 * @typedef {object} ServerOwner
 * @property {(call: number, attempt: number, ok: boolean) => void} answer Its answer leaves.
 * @property {(connecting: number) => void} accepted A handshake is done.
 */

/**
 * One server (or a cluster behind one address) that works on one thing at a time. It works off what it has taken in even when nobody
 * waits for the answer any more. Handshakes and calls get half of it each while there are both.
 */
export class Server {
  #calls = new Ring();
  #handshakes = new Ring();
  /** What came while it was stalled: the kernel accepts it. */
  #unread = new Ring();
  #work = 0;
  /** Of what it works on: a call and its attempt, or a handshake and -1. */
  #first = 0;
  #second = 0;
  /** Work owed for load that was shed. */
  #owedMs = 0;
  /** Above 0 when handshakes had more than their half. */
  #balanceMs = 0;
  #pausedMs = 0;
  /** When it is done with what it works on; Infinity: it does nothing. */
  busyUntil = Infinity;
  isUp = true;
  isStalled = false;
  /** What stands before it answers UNAVAILABLE to every call. */
  isUnreachable = false;
  /** Of its capacity, what is left. */
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
      this.#goOn();
    }
  }

  /** @param {number} connecting */
  takeHandshake(connecting) {
    if (this.isStalled) {
      this.#unread.push(0, connecting, -1);
      return;
    }
    this.#handshakes.push(0, connecting, -1);
    this.#goOn();
  }

  /** It is done with what it works on. */
  done() {
    this.busyUntil = Infinity;
    if (this.#second < 0) this.owner.accepted(this.#first);
    else this.owner.answer(this.#first, this.#second, true);
    this.#goOn();
  }

  /** It is gone, with everything it had taken in. */
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

  goOn() {
    this.isStalled = false;
    this.busyUntil = this.clock.time + this.#pausedMs;
    for (let left = this.#unread.size; left > 0; left--) {
      const { first, second } = this.#unread;
      this.#unread.shift();
      if (second < 0) this.takeHandshake(first);
      else this.takeCall(first, second);
    }
  }

  #goOn() {
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
