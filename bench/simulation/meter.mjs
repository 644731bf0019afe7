/** Duration of a sample, the interval in which {@link Meter} counts. */
export const SAMPLE_MS = 100;
/** Period after the end of a fault, in milliseconds. Calls that start in this period count as new. */
const NEW_MS = 10_000;

/**
 * @typedef {object} Count
 * @property {number} begun
 * @property {number} failed
 */

/** Counts calls and attempts per sample of 100 ms. */
export class Meter {
  /** Calls started. */
  calls;
  /** Calls that succeeded, counted in the sample in which they started. */
  successes;
  /** Attempts started. */
  attempts;
  /** Attempts that reached a server. */
  load;
  /** @type {{ all: Count, connected: Count }[]} New calls after each fault, and those of connected clients. */
  fresh = [];
  /** Longest time from READY, or from the start of the wait if later, until a waiting call is sent. */
  longestWaitMs = 0;
  #freshAt = -Infinity;
  /** @type {Map<number, boolean>} New calls after the last fault; true if the client was connected. */
  #freshCalls = new Map();

  /**
   * @param {number} lengthMs
   * @param {number} usualPerMs
   */
  constructor(lengthMs, usualPerMs) {
    const length = Math.ceil(lengthMs / SAMPLE_MS) + 1;
    this.usual = usualPerMs * SAMPLE_MS;
    this.calls = new Float64Array(length);
    this.successes = new Float64Array(length);
    this.attempts = new Float64Array(length);
    this.load = new Float64Array(length);
  }

  /** Records the end of a fault. @param {number} now */
  faultOver(now) {
    this.#freshAt = now;
    this.fresh.push({ all: { begun: 0, failed: 0 }, connected: { begun: 0, failed: 0 } });
    this.#freshCalls.clear();
  }

  /** Records the start of a fault. From now on, failures of new calls are not counted. */
  faultBegins() {
    this.#freshAt = -Infinity;
    this.#freshCalls.clear();
  }

  /**
   * @param {number} now
   * @param {number} call
   * @param {boolean} isConnected True if the client is connected.
   */
  called(now, call, isConnected) {
    add(this.calls, now);
    const fresh = this.fresh.at(-1);
    if (fresh === undefined || now - this.#freshAt > NEW_MS) return;
    this.#freshCalls.set(call, isConnected);
    fresh.all.begun++;
    if (isConnected) fresh.connected.begun++;
  }

  /** @param {number} now */
  attempted(now) {
    add(this.attempts, now);
  }

  /** @param {number} now */
  arrived(now) {
    add(this.load, now);
  }

  /** Records that a waiting call was sent. @param {number} waitedMs */
  released(waitedMs) {
    this.longestWaitMs = Math.max(this.longestWaitMs, waitedMs);
  }

  /** @param {number} startedAt */
  succeeded(startedAt) {
    add(this.successes, startedAt);
  }

  /** @param {number} call */
  failed(call) {
    const isConnected = this.#freshCalls.get(call);
    const fresh = this.fresh.at(-1);
    if (isConnected === undefined || fresh === undefined) return;
    this.#freshCalls.delete(call);
    fresh.all.failed++;
    if (isConnected) fresh.connected.failed++;
  }
}

/**
 * @param {Float64Array} samples
 * @param {number} at
 */
function add(samples, at) {
  const index = Math.floor(at / SAMPLE_MS);
  samples[index] = (samples[index] ?? 0) + 1;
}
