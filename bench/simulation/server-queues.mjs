import { OverloadQueue, ServiceTime } from './internals.mjs';
import { Queue } from './queue.mjs';

/** @typedef {import('./clock.mjs').SimulatedClock} SimulatedClock */

/**
 * An attempt that a server processes.
 *
 * @typedef {object} QueuedCall
 * @property {object} call
 * @property {number} attempt
 */

/**
 * The calls that wait for a server.
 *
 * @typedef {object} CallQueue
 * @property {number} size
 * @property {(call: object, attempt: number, timeoutMs: number, costMs: number) => boolean} add Returns false if the call is refused.
 * @property {() => QueuedCall | undefined} next Removes and returns the next call.
 * @property {(served: QueuedCall, costMs: number) => void} [served]
 * @property {(call: object) => void} [cancelled] Called when the client has reset the call.
 */

/**
 * The queue of a server without this library: calls that would wait too long are refused, and all others are processed, even if their
 * callers no longer wait.
 *
 * @implements {CallQueue}
 */
export class BoundedQueue {
  /** @type {Queue<QueuedCall>} */
  #calls = new Queue();

  /** @param {number} maxMs Maximum queued work. */
  constructor(maxMs) {
    this.maxMs = maxMs;
  }

  get size() {
    return this.#calls.size;
  }

  /**
   * @param {object} call
   * @param {number} attempt
   * @param {number} _
   * @param {number} costMs
   */
  add(call, attempt, _, costMs) {
    if (this.size * costMs >= this.maxMs) return false;
    this.#calls.push({ call, attempt });
    return true;
  }

  next() {
    return this.#calls.shift();
  }
}

/**
 * Interval in milliseconds at which this library's server refuses waiting calls that can no longer be served in time, as in
 * server/overload/overload-gate.ts.
 */
const SLICE_MS = 10;

/** @implements {QueuedCall} */
class HeldCall {
  order = 0;
  isRemoved = false;
  weight = 0;
  variance = 0;

  /**
   * @param {object} call
   * @param {number} attempt
   * @param {ServiceTime} serviceTime
   * @param {number} arrivedAt
   * @param {number} deadline
   */
  constructor(call, attempt, serviceTime, arrivedAt, deadline) {
    this.call = call;
    this.attempt = attempt;
    this.serviceTime = serviceTime;
    this.arrivedAt = arrivedAt;
    this.deadline = deadline;
  }
}

/**
 * The queue of this library's server. The decisions come from the library's own code; this class adds only the steps that connect them,
 * as in server/overload/overload-gate.ts.
 *
 * @implements {CallQueue}
 */
export class GatedQueue {
  #queue = /** @type {OverloadQueue<HeldCall>} */ (new OverloadQueue({ maxQueued: Infinity, maxSpeed: 1 }));
  #serviceTime = new ServiceTime();
  /** @type {Map<object, HeldCall>} Waiting calls. */
  #held = new Map();
  #sliceEndsAt = 0;

  /**
   * @param {SimulatedClock} clock
   * @param {(call: object, attempt: number) => void} refuse Refuses a call that was waiting.
   */
  constructor(clock, refuse) {
    this.clock = clock;
    this.refuse = refuse;
  }

  get size() {
    return this.#queue.size;
  }

  /**
   * @param {object} call
   * @param {number} attempt
   * @param {number} timeoutMs
   */
  add(call, attempt, timeoutMs) {
    const now = this.clock.time;
    this.#queue.settle(now);
    const held = new HeldCall(call, attempt, this.#serviceTime, now, now + timeoutMs);
    if (this.#queue.refuses(held, now) || !this.#queue.add(held, now)) return false;
    this.#held.set(call, held);
    return true;
  }

  next() {
    const now = this.clock.time;
    const queue = this.#queue;
    if (now >= this.#sliceEndsAt) {
      this.#sliceEndsAt = now + SLICE_MS;
      for (const held of queue.takeHopeless(now)) this.#refuse(held);
    }
    for (let held = queue.take(); held !== undefined; held = queue.take()) {
      const turn = queue.turnOf(held, now);
      // An expired call receives no status, because its client no longer waits for one.
      if (turn === 'refuse') this.#refuse(held);
      else this.#held.delete(held.call);
      if (turn === 'run') return held;
    }
    return undefined;
  }

  /** @param {object} call */
  cancelled(call) {
    const held = this.#held.get(call);
    if (held === undefined) return;
    this.#held.delete(call);
    this.#queue.remove(held, this.clock.time);
  }

  /** @param {HeldCall} held */
  #refuse({ call, attempt }) {
    this.#held.delete(call);
    this.refuse(call, attempt);
  }

  /**
   * @param {QueuedCall} served
   * @param {number} costMs
   */
  served(served, costMs) {
    this.#serviceTime.note(costMs);
    // The cast is safe: `next` returned the call.
    this.#queue.served(/** @type {HeldCall} */ (served), costMs, this.clock.time);
  }
}
