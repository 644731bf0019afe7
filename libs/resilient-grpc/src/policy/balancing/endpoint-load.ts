import { StatusCode } from '../../status/status-code.js';
import type { Verdict } from '../evidence/verdict.js';

/**
 * Outcome of a measured attempt. 'failed': the endpoint failed, or did not respond in time. 'cancelled': this side ended the attempt
 * first, so its latency is only a lower bound.
 */
export type MeasuredOutcome = 'succeeded' | 'failed' | 'cancelled';

/**
 * Time constant of the average in milliseconds. A measurement loses 63% of its weight in this time. At 10 s, as in Finagle and Linkerd, the
 * slow first calls of a new Node server would keep calls away from it for half a minute.
 */
const DECAY_MS = 2_000;
/**
 * Factor by which a failure raises the average. An endpoint that fails fast must not attract calls through its low latency. If no attempt
 * follows, the average returns to its previous value after 2.8 s, so that the endpoint is tested again.
 */
const FAILURE_FACTOR = 4;
/** Minimum recorded latency in milliseconds. `FAILURE_FACTOR` would not raise an average of 0. */
const MIN_LATENCY_MS = 0.01;

/**
 * Load of one endpoint, as one client observes it: its running attempts and its average latency. The average follows a higher latency
 * immediately and a lower one gradually ("peak EWMA", Finagle), so that a server receives fewer calls as soon as it becomes slow. While no
 * attempt is running, the average decreases, so that a slow endpoint is tested again. Times are monotonic milliseconds.
 */
export class EndpointLoad {
  /** Number of running attempts. */
  inFlight = 0;
  /** Average latency at `measuredAt` in milliseconds; `undefined` before the first measurement. */
  private averageMs: number | undefined;
  private measuredAt = 0;
  /** Time at which an attempt last ended. */
  private idleSince = 0;

  started(now: number): void {
    if (this.inFlight === 0) {
      this.averageMs = this.latencyMs(now);
      this.measuredAt = now;
    }
    this.inFlight += 1;
  }

  ended(now: number): void {
    this.inFlight -= 1;
    this.idleSince = now;
  }

  /** Adds the latency of an attempt that has ended. */
  measured(latencyMs: number, outcome: MeasuredOutcome, now: number): void {
    this.averageMs = this.nextAverageMs(Math.max(latencyMs, MIN_LATENCY_MS), outcome, now);
    this.measuredAt = now;
  }

  private nextAverageMs(sampleMs: number, outcome: MeasuredOutcome, now: number): number {
    const { averageMs = sampleMs } = this;
    if (outcome === 'failed') return Math.max(sampleMs, averageMs * FAILURE_FACTOR);
    if (sampleMs >= averageMs) return sampleMs;
    if (outcome === 'cancelled') return averageMs;
    const weight = weightAfter(now - this.measuredAt);
    return averageMs * weight + sampleMs * (1 - weight);
  }

  /** Returns the average latency at `now` in milliseconds; `undefined` before the first measurement. */
  latencyMs(now: number): number | undefined {
    if (this.averageMs === undefined || this.inFlight > 0) return this.averageMs;
    return this.averageMs * weightAfter(now - this.idleSince);
  }
}

function weightAfter(elapsedMs: number): number {
  return Math.exp(-Math.max(elapsedMs, 0) / DECAY_MS);
}

/**
 * Statuses that count as failures. A failing or overloaded server may send them quickly, and its low latency must not attract calls.
 */
const ENDPOINT_FAULTS: ReadonlySet<StatusCode> = new Set([
  StatusCode.UNAVAILABLE,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.INTERNAL,
  StatusCode.UNKNOWN,
]);

/** Returns the outcome of a measured attempt; `undefined` if its latency does not describe the endpoint. */
export function measuredOutcome({
  kind,
  code,
  reachedServer,
}: Pick<Verdict, 'kind' | 'code' | 'reachedServer'>): MeasuredOutcome | undefined {
  switch (kind) {
    case 'unsent':
    case 'local':
    case 'serialize':
      return undefined;
    case 'cancelled':
      return 'cancelled';
    case 'ok':
    // The server responded, but its response did not match the method or exceeded a limit on this side.
    case 'protocol':
      return 'succeeded';
    default:
      if (reachedServer === 'no') return undefined;
      // Other statuses, such as NOT_FOUND, are normal responses from the application.
      return ENDPOINT_FAULTS.has(code) ? 'failed' : 'succeeded';
  }
}
