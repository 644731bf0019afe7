import { OVERLOAD_KEY, OVERLOAD_VALUE, classify } from './internals.mjs';
import { SimulatedChannel } from './resilient-channel.mjs';
import { NO_METADATA, Retries } from './retries.mjs';

/** Path of the method that all calls of the simulation use. */
const PATH = '/orders.v1.Orders/Get';

/** @typedef {import('./fleet.mjs').Fleet} Fleet */
/** @typedef {import('./policies.mjs').Call} Call */

const EVIDENCE = {
  code: 14,
  details: '',
  picked: true,
  channelReady: true,
  endedHere: /** @type {const} */ ('no'),
  headersReceived: false,
  messagesReceived: 0,
  contentType: undefined,
};
const REFUSED = classify({ ...EVIDENCE, contentType: 'application/grpc' });
const OVERLOADED = classify({ ...EVIDENCE, code: 8, contentType: 'application/grpc' });
const LOST = classify({ ...EVIDENCE, details: 'Connection dropped', channelReady: false });

/** Trailers of a call that this library's server refuses because of an overload, as in server/overload/overload-gate.ts. */
const OVERLOAD_METADATA = {
  /** @param {string} key */
  get: (key) => (key === 'grpc-retry-pushback-ms' ? ['-1'] : key === OVERLOAD_KEY ? [OVERLOAD_VALUE] : []),
};

/**
 * A client of this library with its channel, its budget, and its decisions. This class adds only the steps of a unary call that connect
 * them, as in client/calls/call-runner.ts and client/calls/call-gate.ts.
 *
 * @implements {import('./policies.mjs').Client}
 */
export class ResilientClient {
  #retries;
  /** @type {Map<Call, Waiter>} Waiters of waiting calls, and of released calls without a response. */
  #waiters = new Map();
  /** @type {Set<Call>} Calls in backoff whose connection was lost. */
  #rateLimited = new Set();
  /** @type {object | undefined} The most recently lost connection. */
  #lost;

  /**
   * @param {Fleet} fleet
   * @param {import('./policies.mjs').Constants} constants
   * @param {boolean} [waitForReady]
   */
  constructor(fleet, constants, waitForReady = undefined) {
    this.fleet = fleet;
    this.waitForReady = waitForReady;
    this.channel = SimulatedChannel.open(fleet, constants);
    this.#retries = new Retries(fleet, constants.budget, constants.retry);
  }

  get isConnected() {
    return this.channel.ready;
  }

  connect() {
    this.channel.current.connect();
  }

  /** @param {Call} call */
  begin(call) {
    this.#proceed(call, false);
  }

  /** @param {Call} call */
  backoffOver(call) {
    this.#proceed(call, this.#rateLimited.delete(call));
  }

  /**
   * @param {Call} call
   * @param {boolean} rateLimited
   */
  #proceed(call, rateLimited) {
    if (this.channel.ready && !rateLimited) this.#attempt(call);
    else this.#wait(call, rateLimited);
  }

  /**
   * @param {Call} call
   * @param {boolean} rateLimited
   */
  #wait(call, rateLimited) {
    call.phase = 'waiting';
    const waiter = new Waiter(this, call, rateLimited);
    this.#waiters.set(call, waiter);
    this.channel.wait(waiter);
  }

  /** @param {Call} call */
  #attempt(call) {
    this.fleet.attempted(call);
    this.channel.load.callStarted(this.fleet.clock.now());
    this.fleet.send(call, this.channel.current.server);
  }

  /**
   * @param {Call} call
   * @param {number} waitingSince
   */
  released(call, waitingSince) {
    if (!this.channel.ready) {
      this.#wait(call, false);
      return;
    }
    const { clock, meter } = this.fleet;
    meter.released(Math.min(clock.epoch() - this.channel.since, clock.now() - waitingSince));
    this.#attempt(call);
  }

  /** @param {Call} call A call that is not allowed to wait, or is no longer allowed to. */
  waitRefused(call) {
    this.#waiters.delete(call);
    this.fleet.failed(call);
  }

  /** @param {Call} call */
  succeeded(call) {
    const { clock } = this.fleet;
    const latencyMs = clock.time - call.sentAt;
    this.channel.answered(latencyMs, PATH);
    this.#reportReleased(call, latencyMs);
    this.#retries.budget.onSuccess(clock.time);
    this.fleet.ended(call);
  }

  /** @param {Call} call */
  refused(call) {
    this.channel.answered(undefined, PATH);
    this.#attemptFailed(call, REFUSED, undefined);
  }

  /** @param {Call} call */
  refusedForGood(call) {
    this.channel.answered(undefined, PATH);
    this.#attemptFailed(call, OVERLOADED, undefined, OVERLOAD_METADATA);
  }

  /** @param {Call} call */
  attemptLost(call) {
    this.#attemptFailed(call, LOST, this.#lost);
  }

  /** @param {Call} call */
  deadlinePassed(call) {
    const { clock } = this.fleet;
    const waiter = this.#waiters.get(call);
    this.#rateLimited.delete(call);
    if (call.phase === 'running') {
      this.#retries.budget.onDeadline(clock.time, call.sentAt);
      this.channel.current.timedOut(call.sentAt, clock.time - call.sentAt);
      this.#reportReleased(call, undefined);
    } else if (waiter !== undefined) {
      this.#waiters.delete(call);
      this.channel.dequeue(waiter);
    }
  }

  /** @param {number} server */
  connectionLost(server) {
    if (this.channel.current.server !== server) return;
    this.#lost = this.channel.current.connection;
    this.channel.current.connectionLost();
  }

  /**
   * @param {Call} call
   * @param {import('./internals.mjs').Verdict} verdict
   * @param {object | undefined} connection
   * @param {{ readonly get: (key: string) => readonly string[] }} metadata
   */
  #attemptFailed(call, verdict, connection, metadata = NO_METADATA) {
    const { fleet } = this;
    this.#reportReleased(call, undefined);
    const end = {
      code: verdict.code,
      details: verdict.details,
      metadata,
      connection,
      wire: { acceptsNoStreams: connection !== undefined },
    };
    const decision = this.#retries.decide(call, end, verdict, fleet.deadlineOf(call));
    if (!decision.retry) {
      fleet.failed(call);
      return;
    }
    // Calls lost with a connection are resent at a limited rate, as in client/calls/client-call.ts.
    if (verdict.connectionLost) this.#rateLimited.add(call);
    fleet.backOff(call, decision.delayMs);
  }

  /**
   * @param {Call} call
   * @param {number | undefined} latencyMs
   */
  #reportReleased(call, latencyMs) {
    if (this.#waiters.size === 0) return;
    const waiter = this.#waiters.get(call);
    if (waiter === undefined) return;
    this.#waiters.delete(call);
    this.channel.releasedCallEnded(latencyMs ?? 'failed', waiter);
  }
}

/** An entry in the queue of a channel. */
class Waiter {
  bytes = 100;
  expectsPromptResponse = true;
  path = PATH;

  /**
   * @param {ResilientClient} client
   * @param {Call} call
   * @param {boolean} rateLimited
   */
  constructor(client, call, rateLimited) {
    const { fleet } = client;
    this.client = client;
    this.waitForReady = client.waitForReady;
    this.call = call;
    this.rateLimited = rateLimited;
    this.waitingSince = fleet.clock.now();
    this.deadline = fleet.deadlineOf(call);
  }

  release() {
    this.client.released(this.call, this.waitingSince);
  }

  refuse() {
    if (this.call.isOpen) this.client.waitRefused(this.call);
  }
}
