import { EventHub } from '../../../libs/resilient-grpc/dist/call/event-hub.js';
import { seededRandom } from '../../../libs/resilient-grpc/spec-support/seeded-random.mjs';
import { SimulatedClock } from '../clock.mjs';
import { TimedHeap } from '../timed-heap.mjs';
import { EndpointClient } from './client.mjs';
import { EndpointMeter } from './meter.mjs';
import { Replica } from './replica.mjs';

/** @typedef {import('./policies.mjs').EndpointPolicy} EndpointPolicy */

/**
 * The parameters of a simulation.
 *
 * @typedef {object} EndpointWorld
 * @property {number} clients
 * @property {number} callsPerSecond Calls per second of each client.
 * @property {number} endpoints Number of replicas at the start.
 * @property {number} patienceMs Timeout of every call.
 * @property {number} attemptTimeoutMs Timeout of every attempt.
 * @property {number} seed
 */

/** Simulates clients that share the same replicas, event by event in virtual time. */
export class EndpointFleet {
  clock = new SimulatedClock();
  /** @type {TimedHeap<{ readonly call: object }>} Running attempts. */
  #running = new TimedHeap();
  /** @type {TimedHeap<object>} Calls in backoff. */
  #backoffs = new TimedHeap();
  #arrivals;
  #latencies;
  #callsPerMs;
  /** @type {Map<string, Replica>} */
  #byAddress = new Map();
  /** @type {EndpointClient[]} */
  #clients = [];

  /**
   * @param {EndpointWorld} world
   * @param {EndpointPolicy} policy
   * @param {readonly number[]} watched Replicas whose load and ejections are measured.
   */
  constructor(world, policy, watched) {
    this.world = world;
    this.#callsPerMs = (world.clients * world.callsPerSecond) / 1_000;
    this.#arrivals = seededRandom(world.seed);
    this.#latencies = seededRandom(world.seed + 2);
    this.random = seededRandom(world.seed + 1);
    this.meter = new EndpointMeter(world, watched);
    this.events = new EventHub({ client: 'orders' }, () => this.clock.time);
    this.events.listen((event) => {
      this.meter.event(event);
    }, false);
    /** @type {Replica[]} */
    this.replicas = [];
    for (let index = 0; index < world.endpoints; index++) this.addReplica();
    for (let index = 0; index < world.clients; index++) this.#clients.push(new EndpointClient(this, policy));
    for (const client of this.#clients) client.resolve(this.replicas);
  }

  addReplica() {
    const replica = new Replica(this.replicas.length);
    this.replicas.push(replica);
    this.#byAddress.set(replica.address, replica);
  }

  /** Reports the replicas to each client within `withinMs`. @param {number} withinMs */
  resolveAll(withinMs) {
    const replicas = [...this.replicas];
    for (const client of this.#clients) {
      this.clock.setTimer(() => {
        client.resolve(replicas);
      }, withinMs * this.random());
    }
  }

  /**
   * Runs until `endMs`. Traffic is a Poisson process, identical for every policy.
   *
   * @param {readonly { readonly at: number, readonly apply: (fleet: EndpointFleet) => void }[]} changes In chronological order.
   * @param {number} endMs
   */
  run(changes, endMs) {
    const { clock } = this;
    let callAt = this.#nextCallAt();
    let change = 0;
    for (;;) {
      clock.runDeferred();
      const attemptAt = this.#running.nextAt;
      const backoffAt = this.#backoffs.nextAt;
      const changeAt = changes[change]?.at ?? Infinity;
      const next = Math.min(callAt, attemptAt, backoffAt, clock.nextAt, changeAt);
      if (next > endMs) break;
      clock.time = next;
      if (next === changeAt) changes[change++]?.apply(this);
      else if (next === callAt) {
        this.#client().call();
        callAt = this.#nextCallAt();
      } else if (next === attemptAt) this.#attemptDue(this.#running.pop());
      else if (next === backoffAt) {
        const call = this.#backoffs.pop();
        call.client.attempt(call);
      } else clock.runNext();
    }
    clock.time = endMs;
  }

  #nextCallAt() {
    return this.clock.time - Math.log(1 - this.#arrivals()) / this.#callsPerMs;
  }

  #client() {
    // The cast is safe: the index is valid.
    return /** @type {EndpointClient} */ (this.#clients[Math.floor(this.#arrivals() * this.#clients.length)]);
  }

  #attemptDue(attempt) {
    const { replica, call, dueAt } = attempt;
    const now = this.clock.time;
    // Discards the response, because the replica froze before it responded.
    if (replica.condition === 'frozen' && Math.abs(dueAt) === now) {
      this.#schedule(attempt, Infinity);
      return;
    }
    if (dueAt === now) call.client.succeeded(attempt);
    else if (dueAt === -now) call.client.refused(attempt);
    else if (now >= call.startedAt + this.world.patienceMs) call.client.deadlinePassed(attempt);
    else call.client.timedOut(attempt);
  }

  /**
   * @param {object} attempt
   * @param {number} dueAt Time of the response; negative for an error.
   */
  #schedule(attempt, dueAt) {
    const { patienceMs, attemptTimeoutMs } = this.world;
    attempt.dueAt = dueAt;
    const endsAt = Math.min(attempt.startedAt + attemptTimeoutMs, attempt.call.startedAt + patienceMs);
    this.#running.push(Math.min(Math.abs(dueAt), endsAt), attempt);
  }

  // ── called by clients ──

  /** @param {string} address */
  replicaAt(address) {
    // The cast is safe: clients receive only addresses of replicas.
    return /** @type {Replica} */ (this.#byAddress.get(address));
  }

  /** @param {{ readonly replica: Replica }} attempt */
  send(attempt) {
    const { replica } = attempt;
    this.meter.arrived(this.clock.time, replica);
    this.#schedule(attempt, replica.respond(this.clock.time, this.#latencies));
  }

  /** Returns the deadline of a call in milliseconds since 1970, as the library expects it. @param {{ readonly startedAt: number }} call */
  deadlineOf(call) {
    return this.clock.epoch() - this.clock.time + call.startedAt + this.world.patienceMs;
  }

  /**
   * @param {object} call The call to retry after `delayMs`.
   * @param {number} delayMs
   */
  backOff(call, delayMs) {
    this.#backoffs.push(this.clock.time + delayMs, call);
  }
}
