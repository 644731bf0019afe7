import { backoffMs } from '../../libs/resilient-grpc/dist/policy/retry/backoff.js';
import { DEFAULT_RETRY_POLICY } from '../../libs/resilient-grpc/dist/policy/retry/retry-policy.js';
import { PHASE } from './calls.mjs';
import { Subchannel } from './subchannel.mjs';

/** @typedef {import('./fleet.mjs').Fleet} Fleet */

/**
 * @typedef {object} PlainOptions
 * @property {{ readonly initialMs: number, readonly maxMs: number }} backoff Reconnect backoff.
 * @property {boolean} retries
 * @property {number} [attemptTimeoutMs]
 */

/**
 * A client on a grpc-js channel with pick_first. Calls wait for the first connection or reconnection attempt. If it fails, calls fail
 * immediately until the client is connected. If `retries` is true, the client retries all failures except RESOURCE_EXHAUSTED, as often as
 * this library's default policy.
 *
 * @implements {import('./policies.mjs').Client}
 */
export class PlainClient {
  /** True if the channel has failed to connect and keeps trying. */
  #failsFast = false;
  /** @type {number[]} */
  #queued = [];
  #subchannel;

  /**
   * @param {Fleet} fleet
   * @param {PlainOptions} options
   */
  constructor(fleet, options) {
    this.fleet = fleet;
    this.options = options;
    this.#subchannel = new Subchannel(options.backoff, this, fleet.network, fleet.clock, fleet.random);
  }

  get isConnected() {
    return this.#subchannel.state === 'ready';
  }

  connect() {
    this.#subchannel.connect();
  }

  /** @param {number} call */
  begin(call) {
    const { fleet, options } = this;
    const attempt = fleet.attempted(call);
    if (options.attemptTimeoutMs !== undefined) {
      fleet.calls.timeouts.push(fleet.clock.time + options.attemptTimeoutMs, call, attempt);
    }
    if (this.isConnected) {
      fleet.send(call, this.#subchannel.server);
    } else if (this.#failsFast) {
      this.#attemptFailed(call);
    } else {
      fleet.calls.enter(call, PHASE.waiting);
      this.#queued.push(call);
      if (this.#subchannel.state === 'idle') this.#subchannel.connect();
    }
  }

  /** @param {number} call */
  backoffOver(call) {
    this.begin(call);
  }

  /** @param {number} call */
  succeeded(call) {
    this.fleet.ended(call);
  }

  /** @param {number} call */
  refused(call) {
    this.#attemptFailed(call);
  }

  /** @param {number} call */
  refusedForGood(call) {
    this.fleet.failed(call);
  }

  /** @param {number} call */
  attemptTimedOut(call) {
    this.#attemptFailed(call);
  }

  /** @param {number} call */
  attemptLost(call) {
    this.#attemptFailed(call);
  }

  deadlinePassed() {
    // The fleet records the failure.
  }

  /** @param {number} server */
  connectionLost(server) {
    if (this.#subchannel.server === server) this.#subchannel.lost();
  }

  connectTimeoutMs() {
    return Infinity;
  }

  onReady() {
    this.#failsFast = false;
    for (const call of this.#takeQueued()) this.fleet.send(call, this.#subchannel.server);
  }

  onFailed() {
    this.#failsFast = true;
    for (const call of this.#takeQueued()) this.#attemptFailed(call);
  }

  #takeQueued() {
    const queued = this.#queued;
    this.#queued = [];
    return queued.filter((call) => this.fleet.calls.isOpen(call));
  }

  /** @param {number} call */
  #attemptFailed(call) {
    const { fleet } = this;
    const attempts = fleet.calls.attemptsOf(call);
    if (!this.options.retries || attempts >= DEFAULT_RETRY_POLICY.maxAttempts) {
      fleet.failed(call);
      return;
    }
    fleet.backOff(call, backoffMs(DEFAULT_RETRY_POLICY, attempts - 1, fleet.random));
  }
}
