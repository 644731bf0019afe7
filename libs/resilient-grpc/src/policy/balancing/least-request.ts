import { StatusCode } from '../../status/status-code.js';
import type { Verdict } from '../evidence/classify.js';
import { readFields } from '../../errors/protobuf-fields.js';

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
 * attempt is running, the average decreases, so that a slow endpoint is tested again. While unary attempts are running and none ends, the
 * latency is at least that time: otherwise a frozen server would receive calls until the first of them times out. Times are monotonic
 * milliseconds.
 */
export class EndpointLoad {
  inFlight = 0;
  /** Average latency at `measuredAt` in milliseconds; `undefined` before the first measurement. */
  private averageMs: number | undefined;
  private measuredAt = 0;
  private idleSince = 0;
  /** Running unary attempts, and the time since when none of them has ended. */
  private unary = 0;
  private silentSince = 0;
  /** Time of the latest failure that raised the average. */
  private raisedAt = -Infinity;

  started(now: number, isUnary: boolean): void {
    if (this.inFlight === 0) {
      this.averageMs = this.latencyMs(now);
      this.measuredAt = now;
    }
    this.inFlight += 1;
    if (!isUnary) return;
    if (this.unary === 0) this.silentSince = now;
    this.unary += 1;
  }

  ended(now: number, isUnary: boolean): void {
    this.inFlight -= 1;
    this.idleSince = now;
    if (!isUnary) return;
    this.unary -= 1;
    this.silentSince = now;
  }

  measured(latencyMs: number, outcome: MeasuredOutcome, now: number): void {
    this.averageMs = this.nextAverageMs(Math.max(latencyMs, MIN_LATENCY_MS), outcome, now);
    this.measuredAt = now;
  }

  private nextAverageMs(sampleMs: number, outcome: MeasuredOutcome, now: number): number {
    const { averageMs = sampleMs } = this;
    if (outcome === 'failed') {
      // Attempts that fail together are one failure: 50 calls lost with a connection would keep calls away for two minutes.
      if (now - sampleMs < this.raisedAt) return Math.max(sampleMs, averageMs);
      this.raisedAt = now;
      return Math.max(sampleMs, averageMs * FAILURE_FACTOR);
    }
    if (sampleMs >= averageMs) return sampleMs;
    if (outcome === 'cancelled') return averageMs;
    const weight = weightAfter(now - this.measuredAt);
    return averageMs * weight + sampleMs * (1 - weight);
  }

  /** Returns the average latency at `now` in milliseconds; `undefined` before the first measurement. */
  latencyMs(now: number): number | undefined {
    if (this.averageMs === undefined) return undefined;
    if (this.unary > 0) return Math.max(this.averageMs, now - this.silentSince);
    if (this.inFlight > 0) return this.averageMs;
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

/** Name of `least_request` in service configs (gRFC A48). */
export const LEAST_REQUEST_POLICY_NAME = 'least_request_experimental';

/** Default number of endpoints to compare (gRFC A48). */
const DEFAULT_CHOICE_COUNT = 2;
/** Maximum number of endpoints to compare; larger values are reduced to it (gRFC A48). */
const MAX_CHOICE_COUNT = 10;

/**
 * Reads `choiceCount`, the number of endpoints to compare, from the config of `least_request_experimental`.
 *
 * @throws Error if the value is invalid
 */
export function parseChoiceCount(config: unknown): number {
  if (typeof config !== 'object' || config === null)
    throw new Error(`expected an object, got ${JSON.stringify(config)}; write { choiceCount: 2 }`);
  const { choiceCount = DEFAULT_CHOICE_COUNT } = config as { readonly choiceCount?: unknown };
  if (!Number.isInteger(choiceCount) || (choiceCount as number) < 2)
    throw new Error(`choiceCount: expected an integer of 2 or more, got ${JSON.stringify(choiceCount)}`);
  return Math.min(choiceCount as number, MAX_CHOICE_COUNT);
}

type Load = Pick<EndpointLoad, 'inFlight' | 'latencyMs'>;

/**
 * Selects the endpoint for an attempt: draws `choiceCount` endpoints at random and returns the least loaded one ("power of two choices").
 * The load is the average latency times the number of attempts in flight, including the new one. A choice among all endpoints would send
 * the calls of all clients to the same endpoint.
 * @param now monotonic milliseconds
 */
export function chooseLeastLoaded(
  loads: readonly Load[],
  choiceCount: number,
  random: () => number,
  now: number,
): number {
  const { length } = loads;
  let drawn = Math.floor(random() * length);
  let best = drawn;
  if (length === 1) return best;
  for (let draws = 1; draws < choiceCount; draws++) {
    // Excludes the endpoint of the previous draw, so that two draws compare two endpoints.
    drawn = (drawn + 1 + Math.floor(random() * (length - 1))) % length;
    // The casts are safe: both indexes are valid.
    if (isLessLoaded(loads[drawn] as Load, loads[best] as Load, now)) best = drawn;
  }
  return best;
}

function isLessLoaded(a: Load, b: Load, now: number): boolean {
  const latencyOfA = a.latencyMs(now);
  const latencyOfB = b.latencyMs(now);
  // Compares only the attempts in flight if an endpoint is new and has no latency yet. With an assumed latency, the endpoint would receive
  // all calls, or none.
  if (latencyOfA === undefined || latencyOfB === undefined) return a.inFlight < b.inFlight;
  return latencyOfA * (a.inFlight + 1) < latencyOfB * (b.inFlight + 1);
}

/** Key of the trailer that contains the load report of a server (gRFC A51). */
export const LOAD_REPORT_KEY = 'endpoint-load-metrics-bin';

/** Load of a server: the fields of `xds.data.orca.v3.OrcaLoadReport` that this library reads. */
export interface LoadReport {
  /** Share of the CPU time in use, 0 or more; above 1 if the process uses more than its soft limit. */
  readonly cpuUtilization: number;
  /** Share of the capacity in use as the application defines it, 0 or more. */
  readonly applicationUtilization: number;
  readonly callsPerSecond: number;
  readonly errorsPerSecond: number;
}

/** Field numbers of `OrcaLoadReport`. All of these fields are doubles. */
const FIELDS: readonly (readonly [keyof LoadReport, number])[] = [
  ['cpuUtilization', 1],
  ['callsPerSecond', 6],
  ['errorsPerSecond', 7],
  ['applicationUtilization', 9],
];

/** Decodes a report; fields without a counterpart in `LoadReport` are skipped. Returns `undefined` if the message is invalid. */
export function decodeLoadReport(bytes: Uint8Array): LoadReport | undefined {
  const report: Record<keyof LoadReport, number> = {
    cpuUtilization: 0,
    applicationUtilization: 0,
    callsPerSecond: 0,
    errorsPerSecond: 0,
  };
  try {
    for (const { number, value } of readFields(bytes)) {
      const field = FIELDS.find(([, id]) => id === number);
      if (field !== undefined && typeof value === 'number') report[field[0]] = value;
    }
    return report;
  } catch {
    return undefined;
  }
}
