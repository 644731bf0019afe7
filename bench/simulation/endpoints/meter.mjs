import { SAMPLE_MS } from '../meter.mjs';
import { addressOf } from './replica.mjs';

/** @typedef {import('./fleet.mjs').EndpointWorld} EndpointWorld */
/** @typedef {import('./replica.mjs').Replica} Replica */

/** Width of a latency step, as a natural logarithm. Each step is 2% above the previous one. */
const STEP = Math.log(1.02);
const STEPS = 512;

/** Counts of the calls that started in one second of the simulation. */
class Second {
  calls = 0;
  failed = 0;
  latencies = new Uint32Array(STEPS);
}

/** Counts calls, attempts, and ejections. */
export class EndpointMeter {
  /** Mean number of attempts on a watched replica, per sample. */
  load;
  /** Usual number of attempts on a replica per sample. */
  usual;
  /** Attempts on replicas that are not healthy. */
  unhealthyAttempts = 0;
  /** Attempts on all replicas. */
  attempts = 0;
  /** Ejections of watched replicas, in chronological order. @type {{ at: number, forMs: number, number: number }[]} */
  ejections = [];
  /** Number of ejections of other replicas. */
  falseEjections = 0;
  /** Times at which ejected watched replicas were used again. @type {{ at: number }[]} */
  returns = [];
  /** Smallest number of replicas that any client used. */
  minInUse;
  /** @type {Second[]} */
  #seconds = [];
  #watched;
  #addresses;

  /**
   * @param {EndpointWorld} world
   * @param {readonly number[]} watched
   */
  constructor({ clients, callsPerSecond, endpoints }, watched) {
    this.usual = ((clients * callsPerSecond) / endpoints / 1_000) * SAMPLE_MS;
    this.load = /** @type {number[]} */ ([]);
    this.minInUse = endpoints;
    this.#watched = new Set(watched);
    this.#addresses = new Set(watched.map(addressOf));
  }

  /** @param {number} now @param {Replica} replica */
  arrived(now, replica) {
    this.attempts += 1;
    if (replica.condition !== 'healthy') this.unhealthyAttempts += 1;
    if (!this.#watched.has(replica.index)) return;
    const sample = Math.floor(now / SAMPLE_MS);
    this.load[sample] = (this.load[sample] ?? 0) + 1 / this.#watched.size;
  }

  /**
   * @param {number} startedAt
   * @param {number} now
   * @param {boolean} ok
   */
  called(startedAt, now, ok) {
    const second = (this.#seconds[Math.floor(startedAt / 1_000)] ??= new Second());
    second.calls += 1;
    if (!ok) second.failed += 1;
    const step = Math.min(Math.ceil(Math.log(Math.max(now - startedAt, 1)) / STEP), STEPS - 1);
    second.latencies[step] = (second.latencies[step] ?? 0) + 1;
  }

  /** Records that a client ejected a replica and still uses `count` replicas. @param {number} count */
  excluded(count) {
    this.minInUse = Math.min(this.minInUse, count);
  }

  /** @param {import('../internals.mjs').GrpcClientEvent} event */
  event(event) {
    if (event.type !== 'endpoint') return;
    const isWatched = this.#addresses.has(event.address);
    if (event.change === 'ejected') {
      if (isWatched) this.ejections.push({ at: event.at, forMs: event.forMs, number: event.ejections });
      else this.falseEjections += 1;
    } else if (event.change === 'returned' && isWatched) {
      this.returns.push({ at: event.at });
    }
  }

  /**
   * Returns the share of failed calls and the p99 latency in milliseconds, for calls that started in the seconds `from` (inclusive) to `to`
   * (exclusive).
   *
   * @param {number} from
   * @param {number} to
   */
  between(from, to) {
    const all = new Second();
    for (const second of this.#seconds.slice(from, to)) {
      if (second === undefined) continue;
      all.calls += second.calls;
      all.failed += second.failed;
      for (let step = 0; step < STEPS; step++) all.latencies[step] += second.latencies[step];
    }
    return { failed: all.failed / Math.max(all.calls, 1), p99Ms: percentileOf(all, 0.99) };
  }
}

/**
 * @param {Second} second
 * @param {number} share
 */
function percentileOf({ calls, latencies }, share) {
  if (calls === 0) return 0;
  let left = Math.ceil(calls * share);
  for (let step = 0; step < STEPS; step++) {
    left -= latencies[step] ?? 0;
    if (left <= 0) return Math.exp(step * STEP);
  }
  return 0;
}
