import { SimulatedClock, startTraffic } from '../clock.mjs';
import { EventHub, seededRandom } from '../internals.mjs';
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
  #latencies;
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
    const arrivals = seededRandom(world.seed);
    const callsPerMs = (world.clients * world.callsPerSecond) / 1_000;
    startTraffic(
      this.clock,
      arrivals,
      () => callsPerMs,
      () => this.#clients[Math.floor(arrivals() * this.#clients.length)]?.call(),
    );
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
   * @param {object} attempt
   * @param {number} dueAt Time of the response; negative for an error.
   */
  #schedule(attempt, dueAt) {
    const { patienceMs, attemptTimeoutMs } = this.world;
    const { replica, call } = attempt;
    const deadline = call.startedAt + patienceMs;
    const timesOutAt = attempt.startedAt + attemptTimeoutMs;
    const endsAt = Math.min(timesOutAt, deadline);
    if (Math.abs(dueAt) > endsAt) {
      this.clock.runAt(endsAt, () => {
        if (deadline <= timesOutAt) call.client.deadlinePassed(attempt);
        else call.client.timedOut(attempt);
      });
      return;
    }
    this.clock.runAt(Math.abs(dueAt), () => {
      // Discards the response, because the replica froze before it responded.
      if (replica.condition === 'frozen') this.#schedule(attempt, Infinity);
      else if (dueAt > 0) call.client.succeeded(attempt);
      else call.client.refused(attempt);
    });
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
    this.clock.runAt(this.clock.time + delayMs, () => call.client.attempt(call));
  }
}
