import { SimulatedClock, startTraffic } from './clock.mjs';
import { seededRandom } from './internals.mjs';
import { Meter } from './meter.mjs';
import { Network } from './network.mjs';
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

/** A call of a client. */
class Call {
  attempts = 0;
  server = -1;
  sentAt = 0;
  /** @type {'waiting' | 'backoff' | 'running' | 'ended'} */
  phase = 'waiting';

  /**
   * @param {Client} client
   * @param {number} startedAt
   * @param {number} patienceMs Its timeout.
   * @param {boolean} isSafeToRepeat
   */
  constructor(client, startedAt, patienceMs, isSafeToRepeat) {
    this.client = client;
    this.startedAt = startedAt;
    this.patienceMs = patienceMs;
    this.isSafeToRepeat = isSafeToRepeat;
  }

  get isOpen() {
    return this.phase !== 'ended';
  }

  /** @param {number} attempt */
  runs(attempt) {
    return this.phase === 'running' && this.attempts === attempt;
  }
}

/** Simulates a fleet of clients with one policy, and its servers, event by event in virtual time. */
export class Fleet {
  clock = new SimulatedClock();
  /** Traffic of all clients, relative to the usual load. */
  traffic = 1;
  #arrivals;
  /** @type {Set<Call>} Oldest first. */
  #open = new Set();
  /** @type {Client[]} */
  clients = [];

  /**
   * @param {World} world
   * @param {Policy} policy
   * @param {number} lengthMs
   */
  constructor(world, policy, lengthMs) {
    const callsPerMs = (world.clients * world.callsPerSecond) / 1_000;
    this.world = world;
    this.#arrivals = seededRandom(world.seed);
    this.random = seededRandom(world.seed + 1);
    this.meter = new Meter(lengthMs, callsPerMs);
    this.servers = Array.from({ length: world.servers }, () => this.#makeServer());
    this.network = new Network(this.servers, this.clock, this.random);
    for (let i = 0; i < world.clients; i++) this.clients.push(policy.open(this));
    this.#connectAll();
  }

  /** Starts calls of random clients at random times, which are identical for every policy. */
  startTraffic() {
    const { clients, callsPerSecond, patienceMs } = this.world;
    const callsPerMs = (clients * callsPerSecond) / 1_000;
    startTraffic(
      this.clock,
      this.#arrivals,
      () => callsPerMs * this.traffic,
      () => {
        // The cast is safe: the index is valid.
        const client = /** @type {Client} */ (this.clients[Math.floor(this.#arrivals() * clients)]);
        this.begin(this.newCall(client, patienceMs));
      },
    );
  }

  /** Connects all clients at no cost, because the simulated fleet has been running for a long time. */
  #connectAll() {
    this.network.isFree = true;
    for (const client of this.clients) client.connect();
    this.clock.runDeferred();
    this.network.isFree = false;
  }

  #makeServer() {
    const { clients, callsPerSecond, capacity, servers, latencyMs } = this.world;
    const model = { ...this.world, callsPerSecond: (clients * callsPerSecond * capacity) / servers };
    const owner = {
      /** @type {import('./server.mjs').ServerOwner['answer']} */
      answer: (call, attempt, answer) => {
        this.clock.runAt(this.clock.time + latencyMs, () => this.#answered(call, attempt, answer));
      },
      /** @type {import('./server.mjs').ServerOwner['accepted']} */
      accepted: (connecting) => {
        this.network.accepted(connecting);
      },
    };
    return new Server(model, owner, this.clock);
  }

  /**
   * @param {Client} client
   * @param {number} patienceMs
   * @param {boolean} isSafeToRepeat
   */
  newCall(client, patienceMs, isSafeToRepeat = true) {
    return new Call(client, this.clock.time, patienceMs, isSafeToRepeat);
  }

  /** @param {Call} call */
  begin(call) {
    const { client, startedAt, patienceMs } = call;
    this.#open.add(call);
    this.clock.runAt(startedAt + patienceMs, () => this.#deadlinePassed(call));
    this.meter.called(startedAt, call, client.isConnected);
    client.begin(call);
  }

  /**
   * @param {Call | (() => void)} call Or the function that receives the response to a probe.
   * @param {number} attempt
   * @param {number} answer
   */
  #answered(call, attempt, answer) {
    if (typeof call === 'function') call();
    else if (!call.runs(attempt)) return;
    else if (answer === ANSWER.ok) call.client.succeeded(call);
    else if (answer === ANSWER.overloaded) call.client.refusedForGood(call);
    else call.client.refused(call);
  }

  /** @param {Call} call */
  #deadlinePassed(call) {
    if (!call.isOpen) return;
    if (call.phase === 'running') this.#reset(call);
    call.client.deadlinePassed?.(call);
    if (call.isOpen) this.failed(call);
  }

  /** @param {Call} call A call whose running attempt is reset by its client. */
  #reset(call) {
    this.servers[call.server]?.takeReset(call);
  }

  // ── called by clients ──

  /**
   * @param {Call} call The call to retry after `delayMs`.
   * @param {number} delayMs
   */
  backOff(call, delayMs) {
    call.phase = 'backoff';
    this.clock.runAt(this.clock.time + delayMs, () => {
      if (call.isOpen) call.client.backoffOver(call);
    });
  }

  /** Returns the deadline of a call in milliseconds since 1970, as the library expects it. @param {Call} call */
  deadlineOf(call) {
    return this.clock.epoch() - this.clock.time + call.startedAt + call.patienceMs;
  }

  /**
   * Records the start of an attempt, even if it does not reach a server.
   *
   * @param {Call} call
   * @param {number} [timeoutMs] Timeout of the attempt.
   */
  attempted(call, timeoutMs = Infinity) {
    this.meter.attempted(this.clock.time);
    call.attempts += 1;
    const attempt = call.attempts;
    this.clock.runAt(this.clock.time + timeoutMs, () => {
      if (!call.runs(attempt)) return;
      this.#reset(call);
      call.client.attemptTimedOut?.(call);
    });
  }

  /**
   * Sends the current attempt of a call.
   *
   * @param {Call} call
   * @param {number} server
   */
  send(call, server) {
    const { time } = this.clock;
    Object.assign(call, { server, sentAt: time, phase: 'running' });
    this.meter.arrived(time);
    this.servers[server]?.takeCall(call, call.attempts, call.startedAt + call.patienceMs - time);
  }

  /**
   * Probes a server.
   *
   * @param {number} server
   * @param {() => void} answered
   */
  probe(server, answered) {
    this.servers[server]?.takeProbe(answered);
  }

  /** Ends a call that succeeded. @param {Call} call */
  ended(call) {
    this.meter.succeeded(call.startedAt);
    this.#end(call);
  }

  /** Ends a call that failed. @param {Call} call */
  failed(call) {
    this.meter.failed(call);
    this.#end(call);
  }

  /** @param {Call} call */
  #end(call) {
    call.phase = 'ended';
    this.#open.delete(call);
  }

  // ── called by faults ──

  /** Kills a server: its connections are reset, and new ones are refused. @param {number} index */
  stop(index) {
    this.servers[index]?.stop();
    this.network.serverStopped(index);
    for (const client of this.clients) client.connectionLost(index);
    for (const call of [...this.#open]) {
      if (call.phase === 'running' && call.server === index) call.client.attemptLost(call);
    }
  }

  /** @param {number} index */
  start(index) {
    this.servers[index]?.start();
  }
}
