import { Ring } from './ring.mjs';
import { TimedHeap } from './timed-heap.mjs';

/** Phases of a call. */
export const PHASE = { ended: 0, waiting: 1, backoff: 2, running: 3 };

/** The open calls, by number. The length of the arrays ensures that a call has ended before a later call reuses its index. */
export class Calls {
  /** Deadlines that have not passed, in ascending order, including those of calls that have ended. */
  deadlines = new Ring();
  /** Attempt timeouts by call and attempt, if the policy has any. */
  timeouts = new Ring();
  /** @type {TimedHeap<number>} Calls in backoff; some may have ended. */
  backoffs = new TimedHeap();
  #mask;
  #next = 0;
  #numbers;
  #clients;
  #startedAt;
  #sentAt;
  #attempts;
  #servers;
  #phases;

  /** @param {number} usual Usual number of calls started within the timeout of a call. */
  constructor(usual) {
    // Leaves room for traffic several times higher than usual.
    const length = 2 ** Math.ceil(Math.log2(Math.max(16 * usual, 1_024)));
    this.#mask = length - 1;
    this.#numbers = new Int32Array(length).fill(-1);
    this.#clients = new Int32Array(length);
    this.#startedAt = new Float64Array(length);
    this.#sentAt = new Float64Array(length);
    this.#attempts = new Int32Array(length);
    this.#servers = new Int32Array(length);
    this.#phases = new Uint8Array(length);
  }

  /**
   * @param {number} client
   * @param {number} now
   * @param {number} deadline
   */
  begin(client, now, deadline) {
    const call = this.#next++;
    const place = call & this.#mask;
    this.#numbers[place] = call;
    this.#clients[place] = client;
    this.#startedAt[place] = now;
    this.#attempts[place] = 0;
    this.#phases[place] = PHASE.waiting;
    this.deadlines.push(deadline, call, 0);
    return call;
  }

  /** @param {number} call */
  nextAttempt(call) {
    const place = call & this.#mask;
    const attempt = (this.#attempts[place] ?? 0) + 1;
    this.#attempts[place] = attempt;
    return attempt;
  }

  /**
   * @param {number} call
   * @param {number} server
   * @param {number} now
   */
  sent(call, server, now) {
    const place = call & this.#mask;
    this.#servers[place] = server;
    this.#sentAt[place] = now;
    this.#phases[place] = PHASE.running;
  }

  /**
   * @param {number} call
   * @param {number} phase
   */
  enter(call, phase) {
    this.#phases[call & this.#mask] = phase;
  }

  /** @param {number} call */
  end(call) {
    this.#phases[call & this.#mask] = PHASE.ended;
  }

  /** @param {number} call */
  isOpen(call) {
    const place = call & this.#mask;
    return this.#numbers[place] === call && this.#phases[place] !== PHASE.ended;
  }

  /**
   * @param {number} call
   * @param {number} attempt
   */
  runs(call, attempt) {
    const place = call & this.#mask;
    return this.#numbers[place] === call && this.#phases[place] === PHASE.running && this.#attempts[place] === attempt;
  }

  /** @param {number} call */
  phaseOf(call) {
    return this.#phases[call & this.#mask] ?? 0;
  }

  /** @param {number} call */
  clientOf(call) {
    return this.#clients[call & this.#mask] ?? 0;
  }

  /** @param {number} call */
  startedAt(call) {
    return this.#startedAt[call & this.#mask] ?? 0;
  }

  /** @param {number} call */
  sentAt(call) {
    return this.#sentAt[call & this.#mask] ?? 0;
  }

  /** @param {number} call */
  attemptsOf(call) {
    return this.#attempts[call & this.#mask] ?? 0;
  }

  /** @param {number} call */
  serverOf(call) {
    return this.#servers[call & this.#mask] ?? 0;
  }

  /** @param {(call: number) => void} visit */
  forEachOpen(visit) {
    // The first pending deadline belongs to the oldest call that may still be open.
    const oldest = this.deadlines.size === 0 ? this.#next : this.deadlines.first;
    for (let call = oldest; call < this.#next; call++) if (this.isOpen(call)) visit(call);
  }
}
