import { DEFAULT_RETRY_POLICY, backoffMs } from './internals.mjs';
import { Subchannel } from './subchannel.mjs';

/** @typedef {import('./fleet.mjs').Fleet} Fleet */
/** @typedef {import('./policies.mjs').Call} Call */

/**
 * @typedef {object} PlainOptions
 * @property {import('./subchannel.mjs').Backoff} backoff
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
  /** @type {Call[]} */
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

  /** @param {Call} call */
  begin(call) {
    const { fleet, options } = this;
    fleet.attempted(call, options.attemptTimeoutMs);
    if (this.isConnected) {
      fleet.send(call, this.#subchannel.server);
    } else if (this.#failsFast) {
      this.#attemptFailed(call);
    } else {
      call.phase = 'waiting';
      this.#queued.push(call);
      if (this.#subchannel.state === 'idle') this.#subchannel.connect();
    }
  }

  /** @param {Call} call */
  backoffOver(call) {
    this.begin(call);
  }

  /** @param {Call} call */
  succeeded(call) {
    this.fleet.ended(call);
  }

  /** @param {Call} call */
  refused(call) {
    this.#attemptFailed(call);
  }

  /** @param {Call} call */
  refusedForGood(call) {
    this.fleet.failed(call);
  }

  /** @param {Call} call */
  attemptTimedOut(call) {
    this.#attemptFailed(call);
  }

  /** @param {Call} call */
  attemptLost(call) {
    this.#attemptFailed(call);
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
    return queued.filter((call) => call.isOpen);
  }

  /** @param {Call} call */
  #attemptFailed(call) {
    const { fleet } = this;
    const { attempts } = call;
    if (!this.options.retries || attempts >= DEFAULT_RETRY_POLICY.maxAttempts) {
      fleet.failed(call);
      return;
    }
    fleet.backOff(call, backoffMs(DEFAULT_RETRY_POLICY, attempts - 1, fleet.random));
  }
}
