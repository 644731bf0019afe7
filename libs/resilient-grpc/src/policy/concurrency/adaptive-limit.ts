import { StatusCode } from '../../status/status-code.js';
import type { Verdict } from '../evidence/classify.js';

/** Bounds of the limit, and the limit before the first measurement, which exceeds the capacity of a small server only slightly. */
export const ADAPTIVE_BOUNDS = { floor: 4, ceiling: 1_000, initial: 20 };

/** Minimum number of calls per measurement. More calls are measured if the limit is higher, so that a measurement spans a round trip. */
const MIN_SAMPLES = 20;
/** Number of calls that determine the unloaded latency. */
const BASELINE_SAMPLES = 50;
/**
 * Maximum mean latency, as a multiple of the unloaded latency. Above it, the limit decreases. At this multiple, a call waits 0.6 times its
 * service time.
 */
const LOADED_LATENCY = 1.6;
const DECREASE = 0.9;
/** Share by which the limit grows per measurement; it grows by at least 1. */
const INCREASE = 0.05;
/** Maximum share of calls that time out or are refused. Above it, the server is considered overloaded, at any latency. */
const OVERLOADED_SHARE = 0.1;
/** Number of measurements under load between two probes. */
const MEASUREMENTS_PER_PROBE = 200;
const PROBE_SHARE = 0.5;
/** Weight of a probe's mean latency in the unloaded latency, 0 to 1, if the probe finds a lower latency. */
const PROBE_WEIGHT = 0.3;
/**
 * Maximum factor by which a probe raises the unloaded latency. The factor is small, because other clients may load the server during the
 * probe.
 */
const PROBE_RISE = 1.02;
/** Weight of a measurement in the unloaded latency, 0 to 1, while fewer than half of the permits are in use. */
const IDLE_WEIGHT = 0.1;
/** Weight of a measurement in the unloaded latency, 0 to 1, while the limit is at its floor and latency remains high. */
const FLOOR_WEIGHT = 0.05;
/**
 * Share of the latency when the limit began to decrease. If latency remains at or above this share after half of the load was removed, the
 * load is assumed not to cause the latency.
 */
const UNAFFECTED_SHARE = 0.8;
/** Maximum factor by which one observation at or above `UNAFFECTED_SHARE` raises the unloaded latency. */
const SERVICE_TIME_RISE = 1.5;

interface Decrease {
  readonly inFlight: number;
  readonly meanMs: number;
}

/**
 * Concurrency limit that follows latency. While at least half of the permits are in use, the limit increases if the mean latency is at
 * most 1.6 times the latency without load. It decreases if the mean latency is higher, because the additional time is then assumed to be
 * spent in a queue on the server. It also decreases if more than 10% of the calls time out or are refused.
 *
 * A measurement ends after a number of calls, not after a fixed time. Except during a probe, this number is at least the limit, so that the
 * measurement covers a round trip of all concurrent calls. The unloaded latency is measured in three situations: with the first calls,
 * while fewer than half of the permits are in use, and during probes, which halve the limit until 50 calls are measured. It is also raised
 * in two other situations: if latency stays high at the minimum limit, and if it stays high after half of the load was removed. In both
 * situations, the service time itself may have grown. After a probe and in these two situations, the unloaded latency rises only by a
 * limited amount, so that the limit does not follow a queue that other clients cause.
 */
export class AdaptiveLimit {
  private limit = ADAPTIVE_BOUNDS.initial;
  /** Mean latency without load in milliseconds; `undefined` before the first measurement that finds no overload. */
  unloadedLatencyMs: number | undefined;
  /**
   * Mean latency of the last measurement in milliseconds; `undefined` before the first one, or if the server refused all measured calls.
   */
  latencyMs: number | undefined;
  isOverloaded = false;
  private count = 0;
  private overloadedCount = 0;
  private latencyCount = 0;
  private latencySum = 0;
  private inFlightSum = 0;
  /**
   * Number of further calls to ignore, because their latencies are not representative of the current limit. The first calls to end are the
   * shortest calls in flight.
   */
  private ignored = ADAPTIVE_BOUNDS.initial;
  private measurements = 0;
  /** Limit to restore after the probe; `undefined` if no probe is running. */
  private beforeProbe: number | undefined;
  private decrease: Decrease | undefined;

  /** Maximum number of concurrent calls; an integer. */
  get current(): number {
    return Math.floor(this.limit);
  }

  /** The limit without the temporary reduction by a probe. */
  get settled(): number {
    return Math.floor(this.beforeProbe ?? this.limit);
  }

  /**
   * Records the end of a call. A call that failed for a reason of its own shows nothing about the load of the server, and a cancelled one
   * only if the server was slow. The latency of a refused call is ignored.
   * @param latencyMs time from its start to its end
   * @returns the limit for further calls
   */
  record(latencyMs: number, inFlight: number, outcome: PermitOutcome): number {
    if (outcome === 'failed' || outcome === 'not-sent') return this.current;
    if (outcome === 'cancelled' && latencyMs <= (this.unloadedLatencyMs ?? Infinity)) return this.current;
    if (this.ignored > 0) {
      this.ignored -= 1;
      return this.current;
    }
    this.count += 1;
    this.inFlightSum += inFlight;
    if (outcome === 'refused' || outcome === 'timed-out') this.overloadedCount += 1;
    if (outcome !== 'refused') {
      this.latencyCount += 1;
      this.latencySum += latencyMs;
    }
    if (this.count >= this.samplesNeeded()) this.measured();
    return this.current;
  }

  private samplesNeeded(): number {
    const learns = this.beforeProbe !== undefined || this.unloadedLatencyMs === undefined;
    return learns ? BASELINE_SAMPLES : Math.max(MIN_SAMPLES, this.limit);
  }

  private measured(): void {
    const meanMs = this.latencyCount === 0 ? undefined : this.latencySum / this.latencyCount;
    this.latencyMs = meanMs;
    const inFlight = this.inFlightSum / this.count;
    const isOverloaded = this.overloadedCount / this.count > OVERLOADED_SHARE;
    this.isOverloaded = isOverloaded;
    this.count = this.overloadedCount = this.latencyCount = this.latencySum = this.inFlightSum = 0;
    if (this.beforeProbe !== undefined) {
      this.endProbe(this.beforeProbe, inFlight, isOverloaded ? undefined : meanMs);
    } else if (isOverloaded || meanMs === undefined) {
      this.setLimit(this.limit * DECREASE);
    } else if (this.unloadedLatencyMs === undefined) {
      this.unloadedLatencyMs = meanMs;
    } else {
      this.adapt(meanMs, inFlight, this.unloadedLatencyMs);
    }
  }

  private adapt(meanMs: number, inFlight: number, unloadedMs: number): void {
    if (inFlight < this.limit / 2) {
      this.decrease = undefined;
      this.learn(meanMs, IDLE_WEIGHT, unloadedMs);
      return;
    }
    if (meanMs > LOADED_LATENCY * unloadedMs) {
      this.decrease ??= { inFlight, meanMs };
      if (inFlight <= this.decrease.inFlight / 2 && meanMs >= UNAFFECTED_SHARE * this.decrease.meanMs) {
        this.unloadedLatencyMs = Math.min(meanMs, unloadedMs * SERVICE_TIME_RISE);
        this.decrease = undefined;
        return;
      }
      if (this.limit <= ADAPTIVE_BOUNDS.floor) this.learn(meanMs, FLOOR_WEIGHT, unloadedMs);
      this.setLimit(this.limit * DECREASE);
    } else {
      this.decrease = undefined;
      this.setLimit(this.limit + Math.max(1, this.limit * INCREASE));
    }
    this.measurements += 1;
    if (this.measurements >= MEASUREMENTS_PER_PROBE) this.startProbe();
  }

  private startProbe(): void {
    this.measurements = 0;
    this.beforeProbe = this.limit;
    this.setLimit(this.limit * PROBE_SHARE);
    this.ignored = Math.ceil(this.beforeProbe + this.limit);
  }

  /** @param meanMs latency during the probe; `undefined` if the server was overloaded even during the probe */
  private endProbe(limit: number, inFlight: number, meanMs: number | undefined): void {
    this.beforeProbe = undefined;
    this.ignored = Math.ceil(inFlight);
    this.setLimit(limit);
    if (meanMs === undefined || this.unloadedLatencyMs === undefined) return;
    if (meanMs < this.unloadedLatencyMs) this.learn(meanMs, PROBE_WEIGHT, this.unloadedLatencyMs);
    else this.unloadedLatencyMs = Math.min(meanMs, this.unloadedLatencyMs * PROBE_RISE);
  }

  private learn(meanMs: number, weight: number, unloadedMs: number): void {
    this.unloadedLatencyMs = unloadedMs + (meanMs - unloadedMs) * weight;
  }

  private setLimit(limit: number): void {
    this.limit = Math.min(Math.max(limit, ADAPTIVE_BOUNDS.floor), ADAPTIVE_BOUNDS.ceiling);
  }
}

/**
 * Outcome of the attempt that a permit admitted. 'succeeded': it ended with OK. 'timed-out': it did not end before its deadline or timeout.
 * 'refused': an overloaded server rejected it. 'cancelled': the caller or the client cancelled it. 'not-sent': no server
 * application received it. 'failed': it failed in any other way.
 */
export type PermitOutcome = 'succeeded' | 'failed' | 'timed-out' | 'refused' | 'cancelled' | 'not-sent';

export function permitOutcome({
  kind,
  code,
  reachedServer,
  overloaded,
}: Pick<Verdict, 'kind' | 'code' | 'reachedServer' | 'overloaded'>): PermitOutcome {
  if (kind === 'ok') return 'succeeded';
  if (reachedServer === 'no') return 'not-sent';
  if (kind === 'cancelled') return 'cancelled';
  if (kind === 'deadline' || kind === 'attempt-timeout') return 'timed-out';
  if (kind === 'overloaded' || overloaded === true) return 'refused';
  return kind === 'server' && code === StatusCode.RESOURCE_EXHAUSTED ? 'refused' : 'failed';
}
