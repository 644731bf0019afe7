/** @typedef {import('./clock.mjs').SimulatedClock} SimulatedClock */
/** @typedef {import('./network.mjs').Network} Network */
/** @typedef {Extract<import('./internals.mjs').ConnectFailureKind, 'refused' | 'silent'>} FailureKind */

/** Factor by which the backoff grows. This factor and the jitter are those of grpc-js's backoff-timeout.js. */
const GROWTH = 1.6;
const JITTER = 0.2;

/**
 * The callbacks of a subchannel.
 *
 * @typedef {object} SubchannelOwner
 * @property {() => void} onReady
 * @property {(kind: FailureKind) => void} onFailed Called when a connection attempt fails. The next starts automatically after the backoff.
 * @property {() => number} connectTimeoutMs Maximum duration of the handshake of an attempt; Infinity for no limit.
 */

/**
 * @typedef {object} Backoff
 * @property {() => number} firstMs The first backoff of an outage.
 * @property {number} maxMs
 */

/** A subchannel of grpc-js: one connection, and the backoff between its attempts, measured from the start of each attempt. */
export class Subchannel {
  /** @type {'idle' | 'connecting' | 'backoff' | 'ready'} */
  state = 'idle';
  /** Index of the connected server; -1 if not connected. */
  server = -1;
  #firstMs;
  #nextMs;
  #backoffUntil = 0;
  /** @type {{ readonly id: unknown } | undefined} */
  #timer;
  #connecting = -1;

  /**
   * @param {Backoff} backoff
   * @param {SubchannelOwner} owner
   * @param {Network} network
   * @param {SimulatedClock} clock
   * @param {() => number} random
   */
  constructor(backoff, owner, network, clock, random) {
    this.backoff = backoff;
    this.owner = owner;
    this.network = network;
    this.clock = clock;
    this.random = random;
    this.#firstMs = backoff.firstMs();
    this.#nextMs = this.#firstMs;
  }

  /** End of the backoff; `undefined` if not in backoff. */
  get backoffUntil() {
    return this.state === 'backoff' ? this.#backoffUntil : undefined;
  }

  connect() {
    this.state = 'connecting';
    this.#backoffUntil = this.clock.time + this.#nextMs;
    const grown = Math.min(this.#nextMs * GROWTH, this.backoff.maxMs);
    this.#nextMs = grown * (1 - JITTER + 2 * JITTER * this.random());
    this.#connecting = this.network.connect(this);
  }

  /** Called when the server accepts the TCP connection, before it queues the handshake. Starts the connect timeout. */
  accepted() {
    const timeoutMs = this.owner.connectTimeoutMs();
    if (timeoutMs === Infinity) return;
    this.#timer = this.clock.setTimer(() => {
      this.network.abort(this.#connecting);
      this.failed('silent');
    }, timeoutMs);
  }

  /** Ends the backoff, as `resetBackoff` does. */
  endBackoff() {
    if (this.state !== 'backoff') return;
    this.#clear();
    this.#nextMs = this.#firstMs;
    this.connect();
  }

  /** @param {number} server */
  connected(server) {
    this.#clear();
    this.state = 'ready';
    this.server = server;
    this.#firstMs = this.backoff.firstMs();
    this.#nextMs = this.#firstMs;
    this.owner.onReady();
  }

  /** @param {FailureKind} kind */
  failed(kind) {
    this.#clear();
    this.state = 'backoff';
    this.#timer = this.clock.setTimer(() => {
      this.connect();
    }, this.#backoffUntil - this.clock.time);
    this.owner.onFailed(kind);
  }

  lost() {
    this.state = 'idle';
    this.server = -1;
  }

  close() {
    this.#clear();
    if (this.state === 'connecting') this.network.abort(this.#connecting);
    this.state = 'idle';
    this.server = -1;
  }

  #clear() {
    this.#timer?.clear();
    this.#timer = undefined;
  }
}
