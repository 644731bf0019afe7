import { SimulatedClock } from './clock.mjs';
import { seededRandom } from '../../libs/resilient-grpc/spec-support/seeded-random.mjs';
import { Calls, PHASE } from './calls.mjs';
import { Meter } from './meter.mjs';
import { Network } from './network.mjs';
import { Ring } from './ring.mjs';
import { ANSWER, Server } from './server.mjs';

/** @typedef {import('./policies.mjs').Policy} Policy */
/** @typedef {import('./policies.mjs').Client} Client */

/**
 * The parameters of a simulation.
 *
 * @typedef {object} World
 * @property {number} clients
 * @property {number} callsPerSecond Calls per second of each client.
 * @property {number} patienceMs Timeout of every call.
 * @property {number} servers
 * @property {number} capacity Total capacity of all servers, relative to the usual load.
 * @property {import('./server.mjs').ServerKind} serverKind
 * @property {number} queueMs
 * @property {number} shedCost
 * @property {number} handshakeCost
 * @property {number} latencyMs Time from the end of processing until the client receives the response.
 * @property {number} seed
 */

/** Number of values of {@link ANSWER}. */
const ANSWERS = Object.keys(ANSWER).length;

/** Simulates a fleet of clients with one policy, and its servers, event by event in virtual time. */
export class Fleet {
  clock = new SimulatedClock();
  /** Traffic of all clients, relative to the usual load. */
  traffic = 1;
  #answers = new Ring();
  #arrivals;
  #callsPerMs;
  /** @type {Map<number, () => void>} Callbacks of pending server probes, by negative id. */
  #probes = new Map();
  #lastProbe = 0;
  /** @type {Client[]} */
  #clients = [];

  /**
   * @param {World} world
   * @param {Policy} policy
   * @param {number} lengthMs
   */
  constructor(world, policy, lengthMs) {
    this.world = world;
    this.#callsPerMs = (world.clients * world.callsPerSecond) / 1_000;
    this.#arrivals = seededRandom(world.seed);
    this.random = seededRandom(world.seed + 1);
    this.meter = new Meter(lengthMs, this.#callsPerMs);
    this.calls = new Calls(this.#callsPerMs * world.patienceMs);
    this.servers = Array.from({ length: world.servers }, () => this.#makeServer());
    this.network = new Network(this.servers, this.clock, this.random);
    for (let i = 0; i < world.clients; i++) this.#clients.push(policy.open(this));
    this.#connectAll();
  }

  /** Connects all clients at no cost, because the simulated fleet has been running for a long time. */
  #connectAll() {
    this.network.isFree = true;
    for (const client of this.#clients) client.connect();
    this.clock.runDeferred();
    this.network.isFree = false;
  }

  #makeServer() {
    const { clients, callsPerSecond, capacity, servers, serverKind, queueMs, shedCost, handshakeCost, latencyMs } =
      this.world;
    const model = {
      callsPerSecond: (clients * callsPerSecond * capacity) / servers,
      kind: serverKind,
      queueMs,
      shedCost,
      handshakeCost,
    };
    const owner = {
      /** @type {import('./server.mjs').ServerOwner['answer']} */
      answer: (call, attempt, answer) => {
        this.#answers.push(this.clock.time + latencyMs, call, ANSWERS * attempt + answer);
      },
      /** @type {import('./server.mjs').ServerOwner['accepted']} */
      accepted: (connecting) => {
        this.network.accepted(connecting);
      },
    };
    return new Server(model, owner, this.clock);
  }

  /**
   * Runs until `endMs`. Traffic is a Poisson process, identical for every policy.
   *
   * @param {readonly { readonly at: number, readonly apply: (fleet: Fleet) => void }[]} changes In chronological order.
   * @param {number} endMs
   */
  run(changes, endMs) {
    const { clock, calls, servers } = this;
    let callAt = this.#nextCallAt();
    let change = 0;
    for (;;) {
      clock.runDeferred();
      const answerAt = this.#answers.nextAt;
      const timerAt = clock.nextAt;
      const backoffAt = calls.backoffs.nextAt;
      let next = Math.min(callAt, answerAt, calls.deadlines.nextAt, calls.timeouts.nextAt, backoffAt, timerAt);
      /** @type {Server | undefined} */
      let worker;
      for (const server of servers) {
        if (server.busyUntil > next) continue;
        next = server.busyUntil;
        worker = server;
      }
      const changeAt = changes[change]?.at ?? Infinity;
      if (Math.min(next, changeAt) > endMs) break;
      if (changeAt <= next) {
        clock.time = changeAt;
        changes[change++]?.apply(this);
        continue;
      }
      clock.time = next;
      if (worker !== undefined) worker.done();
      else if (next === answerAt) this.#answered();
      else if (next === callAt) {
        this.#call();
        callAt = this.#nextCallAt();
      } else if (next === calls.timeouts.nextAt) this.#attemptTimedOut();
      else if (next === calls.deadlines.nextAt) this.#deadlinePassed();
      else if (next === backoffAt) this.#backoffOver();
      else clock.runNext();
    }
    clock.time = endMs;
  }

  #nextCallAt() {
    return this.clock.time - Math.log(1 - this.#arrivals()) / (this.#callsPerMs * this.traffic);
  }

  #call() {
    const index = Math.floor(this.#arrivals() * this.#clients.length);
    const client = this.#client(index);
    const now = this.clock.time;
    const call = this.calls.begin(index, now, now + this.world.patienceMs);
    this.meter.called(now, call, client.isConnected);
    client.begin(call);
  }

  #answered() {
    const { first: call, second } = this.#answers;
    this.#answers.shift();
    if (call < 0) {
      this.#probes.get(call)?.();
      this.#probes.delete(call);
      return;
    }
    if (!this.calls.runs(call, Math.floor(second / ANSWERS))) return;
    const client = this.#client(this.calls.clientOf(call));
    const answer = second % ANSWERS;
    if (answer === ANSWER.ok) client.succeeded(call);
    else if (answer === ANSWER.overloaded) client.refusedForGood(call);
    else client.refused(call);
  }

  #attemptTimedOut() {
    const { first: call, second: attempt } = this.calls.timeouts;
    this.calls.timeouts.shift();
    if (!this.calls.runs(call, attempt)) return;
    this.#reset(call);
    this.#client(this.calls.clientOf(call)).attemptTimedOut(call);
  }

  #backoffOver() {
    const call = this.calls.backoffs.pop();
    if (this.calls.isOpen(call)) this.#client(this.calls.clientOf(call)).backoffOver(call);
  }

  #deadlinePassed() {
    const { first: call } = this.calls.deadlines;
    this.calls.deadlines.shift();
    if (!this.calls.isOpen(call)) return;
    if (this.calls.phaseOf(call) === PHASE.running) this.#reset(call);
    this.#client(this.calls.clientOf(call)).deadlinePassed(call);
    if (this.calls.isOpen(call)) this.failed(call);
  }

  /** @param {number} call A call whose running attempt is reset by its client. */
  #reset(call) {
    this.servers[this.calls.serverOf(call)]?.takeReset(call);
  }

  /** @param {number} index */
  #client(index) {
    // The cast is safe: calls belong to existing clients.
    return /** @type {Client} */ (this.#clients[index]);
  }

  // ── called by clients ──

  /**
   * @param {number} call The call to retry after `delayMs`.
   * @param {number} delayMs
   */
  backOff(call, delayMs) {
    this.calls.enter(call, PHASE.backoff);
    this.calls.backoffs.push(this.clock.time + delayMs, call);
  }

  /** Returns the deadline of a call in milliseconds since 1970, as the library expects it. @param {number} call */
  deadlineOf(call) {
    return this.clock.epoch() - this.clock.time + this.calls.startedAt(call) + this.world.patienceMs;
  }

  /**
   * Records the start of an attempt, even if it does not reach a server.
   *
   * @param {number} call
   */
  attempted(call) {
    this.meter.attempted(this.clock.time);
    return this.calls.nextAttempt(call);
  }

  /**
   * Sends the current attempt of a call.
   *
   * @param {number} call
   * @param {number} server
   */
  send(call, server) {
    const { calls, clock } = this;
    calls.sent(call, server, clock.time);
    this.meter.arrived(clock.time);
    const timeoutMs = calls.startedAt(call) + this.world.patienceMs - clock.time;
    this.servers[server]?.takeCall(call, calls.attemptsOf(call), timeoutMs);
  }

  /**
   * Probes a server.
   *
   * @param {number} server
   * @param {() => void} answered
   */
  probe(server, answered) {
    const id = --this.#lastProbe;
    this.#probes.set(id, answered);
    this.servers[server]?.takeProbe(id);
  }

  /**
   * Ends a call that succeeded.
   *
   * @param {number} call
   */
  ended(call) {
    this.meter.succeeded(this.calls.startedAt(call));
    this.calls.end(call);
  }

  /**
   * Ends a call that failed.
   *
   * @param {number} call
   */
  failed(call) {
    this.meter.failed(call);
    this.calls.end(call);
  }

  // ── called by faults ──

  /** Kills a server: its connections are reset, and new ones are refused. @param {number} index */
  stop(index) {
    this.servers[index]?.stop();
    this.network.serverStopped(index);
    for (const client of this.#clients) client.connectionLost(index);
    this.calls.forEachOpen((call) => {
      if (this.calls.phaseOf(call) !== PHASE.running || this.calls.serverOf(call) !== index) return;
      this.#client(this.calls.clientOf(call)).attemptLost(call);
    });
  }

  /** @param {number} index */
  start(index) {
    this.servers[index]?.start();
  }
}
