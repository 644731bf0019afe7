import { Queue } from './queue.mjs';
import { BoundedQueue, GatedQueue } from './server-queues.mjs';

/** @typedef {import('./clock.mjs').SimulatedClock} SimulatedClock */
/** @typedef {import('./server-queues.mjs').QueuedCall} QueuedCall */

/** Responses of a server. */
export const ANSWER = {
  /** UNAVAILABLE. */
  unavailable: 0,
  ok: 1,
  /** RESOURCE_EXHAUSTED with a pushback that stops retries. */
  overloaded: 2,
};

/**
 * The way a server treats calls that it cannot process immediately:
 * - 'plain': it processes all of them, as Nest's server does;
 * - 'bounded': it returns UNAVAILABLE for calls that would wait for more than `queueMs`;
 * - 'gate': it has this library's protection against overload.
 *
 * @typedef {'plain' | 'bounded' | 'gate'} ServerKind
 */

/**
 * @typedef {object} ServerModel
 * @property {number} callsPerSecond Capacity in calls per second.
 * @property {ServerKind} serverKind
 * @property {number} queueMs Maximum queued work of a bounded server.
 * @property {number} shedCost Cost of a refused call, as a multiple of a served one.
 * @property {number} handshakeCost Cost of a new connection, as a multiple of a served call.
 */

/**
 * @typedef {object} ServerOwner
 * @property {(call: object, attempt: number, answer: number) => void} answer Called when the server sends a response, which is
 *   one of {@link ANSWER}.
 * @property {(connecting: number) => void} accepted Called when a handshake is complete.
 */

/**
 * One server (or a cluster with one address) that processes one item at a time. While handshakes and calls are both queued, each kind gets
 * half of the capacity.
 */
export class Server {
  #calls;
  /** @type {Queue<number>} Numbers of handshakes. */
  #handshakes = new Queue();
  /** @type {Queue<() => void>} Calls and handshakes that the kernel accepted during a stall. */
  #unread = new Queue();
  /** @type {QueuedCall | number} The current item: a call, or the number of a handshake. */
  #current = 0;
  /** @type {{ clear(): void } | undefined} */
  #timer;
  #currentMs = 0;
  /** Cost of calls refused since the current item started, added to the next item. */
  #owedMs = 0;
  /** Time used by handshakes minus time used by calls while both are queued, in milliseconds. Above 0, a call is next. */
  #balanceMs = 0;
  #pausedMs = 0;
  /** Time when the current item is done; Infinity if the server is idle or stalled. */
  #busyUntil = Infinity;
  isUp = true;
  isStalled = false;
  /** True if a proxy in front of the server returns UNAVAILABLE for every call. */
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
    this.#calls = this.#newQueue();
  }

  get #callMs() {
    return 1_000 / (this.model.callsPerSecond * this.capacity);
  }

  /** @returns {import('./server-queues.mjs').CallQueue} */
  #newQueue() {
    const { model, clock } = this;
    if (model.serverKind !== 'gate') return new BoundedQueue(model.serverKind === 'plain' ? Infinity : model.queueMs);
    return new GatedQueue(clock, (call, attempt) => {
      this.#refuse(call, attempt);
    });
  }

  /**
   * @param {object} call
   * @param {number} attempt
   * @param {number} timeoutMs
   */
  takeCall(call, attempt, timeoutMs) {
    if (this.isUnreachable) {
      this.owner.answer(call, attempt, ANSWER.unavailable);
    } else if (this.isStalled) {
      this.#unread.push(() => this.takeCall(call, attempt, timeoutMs));
    } else if (this.#calls.add(call, attempt, timeoutMs, this.#callMs)) {
      this.#startNext();
    } else {
      this.#refuse(call, attempt);
    }
  }

  /**
   * Takes the reset of a call whose client no longer waits.
   *
   * @param {object} call
   */
  takeReset(call) {
    // A stalled server reads no resets. The simulation drops them, so their calls stay queued after the stall.
    if (!this.isStalled) this.#calls.cancelled?.(call);
  }

  /**
   * Responds to a probe. A running server with this library responds at once, because its streams and pings do not wait for calls. Any
   * other server treats the probe as a call.
   *
   * @param {object} probe
   */
  takeProbe(probe) {
    if (this.model.serverKind === 'gate' && !this.isStalled && !this.isUnreachable)
      this.owner.answer(probe, 0, ANSWER.ok);
    else this.takeCall(probe, 0, Infinity);
  }

  /** @param {number} connecting */
  takeHandshake(connecting) {
    if (this.isStalled) {
      this.#unread.push(() => this.takeHandshake(connecting));
      return;
    }
    this.#handshakes.push(connecting);
    this.#startNext();
  }

  /** Works on the current item until `at`. @param {number} at */
  #workUntil(at) {
    this.#timer?.clear();
    this.#busyUntil = at;
    this.#timer = this.clock.runAt(at, () => this.#done());
  }

  #done() {
    this.#busyUntil = Infinity;
    const current = this.#current;
    if (typeof current === 'number') {
      this.owner.accepted(current);
    } else {
      this.#calls.served?.(current, this.#currentMs);
      this.owner.answer(current.call, current.attempt, ANSWER.ok);
    }
    this.#startNext();
  }

  /** Stops the server and drops all queued work. */
  stop() {
    this.isUp = false;
    this.#calls = this.#newQueue();
    this.#handshakes = new Queue();
    this.#unread = new Queue();
    this.#owedMs = 0;
    this.#workUntil(Infinity);
  }

  start() {
    this.isUp = true;
  }

  stall() {
    this.isStalled = true;
    this.#pausedMs = this.#busyUntil - this.clock.time;
    this.#workUntil(Infinity);
  }

  resume() {
    this.isStalled = false;
    this.#workUntil(this.clock.time + this.#pausedMs);
    for (let take = this.#unread.shift(); take !== undefined; take = this.#unread.shift()) take();
  }

  /**
   * @param {object} call
   * @param {number} attempt
   */
  #refuse(call, attempt) {
    const { model, owner } = this;
    this.#owedMs += model.shedCost * this.#callMs;
    owner.answer(call, attempt, model.serverKind === 'gate' ? ANSWER.overloaded : ANSWER.unavailable);
  }

  #startNext() {
    if (this.#busyUntil !== Infinity) return;
    const calls = this.#calls.size;
    const handshakes = this.#handshakes.size;
    if (calls === 0 || handshakes === 0) this.#balanceMs = 0;
    const isHandshake = handshakes > 0 && (calls === 0 || this.#balanceMs <= 0);
    const next = isHandshake ? this.#handshakes.shift() : this.#calls.next();
    if (next === undefined) return;
    this.#current = next;
    this.#currentMs = isHandshake ? this.model.handshakeCost * this.#callMs : this.#callMs;
    this.#balanceMs += isHandshake ? this.#currentMs : -this.#currentMs;
    this.#workUntil(this.clock.time + this.#currentMs + this.#owedMs);
    this.#owedMs = 0;
  }
}
