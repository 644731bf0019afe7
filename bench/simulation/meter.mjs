/** Length of a sample. */
export const SAMPLE_MS = 100;
/** So long after a fault calls count as new. */
const NEW_MS = 10_000;

/**
 * @typedef {object} Count
 * @property {number} begun
 * @property {number} failed
 */

/** Counts what happens, a tenth of a second at a time. */
export class Meter {
  /** Calls begun. */
  calls;
  /** Of those, the ones that succeed. */
  successes;
  /** Attempts begun. */
  attempts;
  /** Attempts that got to a server. */
  load;
  /** @type {{ all: Count, connected: Count }[]} New calls after each fault, and those of them that connected clients made. */
  fresh = [];
  /** Longest time from READY, or from when a call began to wait, until a held call is sent. */
  longestHeldMs = 0;
  #freshAt = -Infinity;
  /** @type {Map<number, boolean>} Whether the client was connected. */
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

  /** A fault is over. @param {number} now */
  faultOver(now) {
    this.#freshAt = now;
    this.fresh.push({ all: { begun: 0, failed: 0 }, connected: { begun: 0, failed: 0 } });
    this.#freshCalls.clear();
  }

  /** Another one begins: who fails now fails for it. */
  faultBegins() {
    this.#freshAt = -Infinity;
    this.#freshCalls.clear();
  }

  /**
   * @param {number} now
   * @param {number} call
   * @param {boolean} isConnected Its client has found the server.
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

  /** A held call is sent. @param {number} heldMs */
  released(heldMs) {
    this.longestHeldMs = Math.max(this.longestHeldMs, heldMs);
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
