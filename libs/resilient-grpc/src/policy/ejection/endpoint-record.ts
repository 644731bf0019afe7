import { StatusCode } from '../../status/status-code.js';
import { type AttemptEvidence, hasResponseBegun, type Verdict } from '../evidence/classify.js';

/** Outcome of an attempt as evidence about its endpoint. 'none': the attempt is not evidence. */
export type EndpointOutcome = 'success' | 'failure' | 'none';

/**
 * HTTP statuses from a gateway that cannot reach its server (Envoy: gateway failures). 429 is excluded, because it reports a limit on the
 * caller.
 */
const GATEWAY_FAILURES: ReadonlySet<number | undefined> = new Set([502, 503, 504]);
/** Minimum duration of a timed-out attempt that counts as a failure, as a multiple of the usual latency of the endpoints. */
const MIN_TIMEOUT_FACTOR = 3;
const MIN_TIMEOUT_MS = 100;
/** Minimum duration in milliseconds of a timed-out attempt that counts as a failure while the usual latency is unknown. */
const DEFAULT_MIN_TIMEOUT_MS = 1_000;

/**
 * Classifies an attempt as evidence about its endpoint. Envoy splits failures the same way: its `gateway_failure` and
 * `local_origin_failure` count; application errors do not. A status from the application, such as NOT_FOUND or INTERNAL, shows that the
 * endpoint responds.
 * @param usualMs median latency of the endpoints; `undefined` if it is unknown
 */
export function endpointOutcome(
  verdict: Pick<Verdict, 'kind' | 'code' | 'reachedServer' | 'connectionLost'>,
  evidence: Pick<AttemptEvidence, 'wire' | 'headersReceived' | 'messagesReceived' | 'contentType'>,
  elapsedMs: number,
  usualMs: number | undefined,
): EndpointOutcome {
  const { wire } = evidence;
  switch (verdict.kind) {
    case 'ok':
    // Counts as a success, because ejecting an overloaded endpoint would overload the others.
    case 'overloaded':
      return 'success';
    case 'unsent':
    case 'local':
    case 'serialize':
    case 'cancelled':
    // The response may be invalid for this client only.
    case 'protocol':
    // A stream without messages is not a failure of the endpoint.
    case 'stream-idle':
      return 'none';
    case 'refused':
      // Calls that a GOAWAY rejected do not count against the endpoint.
      return verdict.reachedServer === 'no' ? 'none' : 'failure';
    case 'connection-lost':
      return lost(wire);
    case 'http':
      return GATEWAY_FAILURES.has(wire?.httpStatus) ? 'failure' : 'none';
    case 'committed':
      if (verdict.connectionLost) return lost(wire);
      return verdict.code === StatusCode.UNAVAILABLE ? 'failure' : 'success';
    case 'server':
      // The stream was reset without a response. Otherwise, a gRPC code arrived and determines the outcome below.
      if (wire?.httpStatus === undefined && evidence.contentType === undefined) return 'failure';
      if (verdict.code === StatusCode.DEADLINE_EXCEEDED) return timedOut(elapsedMs, usualMs);
      return verdict.code === StatusCode.UNAVAILABLE ? 'failure' : 'success';
    case 'deadline':
    case 'attempt-timeout':
      // If the response has started, the deadline or timeout is not a failure of the endpoint.
      return hasResponseBegun(evidence) ? 'none' : timedOut(elapsedMs, usualMs);
  }
}

/**
 * Outcome of an attempt that lost its connection or stream. If the connection accepts no more streams, its attempts do not count. Instead,
 * its end counts once if the server sent no GOAWAY.
 */
function lost(wire: AttemptEvidence['wire']): EndpointOutcome {
  return wire?.acceptsNoStreams === true ? 'none' : 'failure';
}

function timedOut(elapsedMs: number, usualMs: number | undefined): EndpointOutcome {
  const minTimeoutMs =
    usualMs === undefined ? DEFAULT_MIN_TIMEOUT_MS : Math.max(MIN_TIMEOUT_MS, usualMs * MIN_TIMEOUT_FACTOR);
  return elapsedMs >= minTimeoutMs ? 'failure' : 'none';
}

const MAX_SAMPLES = 32;
/** Minimum time between two samples in milliseconds, so that `MAX_SAMPLES` samples span about a second or more. */
const SAMPLE_SPACING_MS = 1_000 / MAX_SAMPLES;
const MAX_SAMPLE_AGE_MS = 30_000;
/** Weight of one attempt in the average of failures. */
const FAILURE_WEIGHT = 0.1;

/** Counts and samples of the attempts on one endpoint. Times are monotonic milliseconds. */
export class EndpointRecord {
  successes = 0;
  failures = 0;
  /** Number of failures since the last success. */
  consecutiveFailures = 0;
  /** Recent share of failures, 0 to 1. */
  failureShare = 0;
  /** Time of the last response; −Infinity before the first. */
  respondedAt = -Infinity;
  /** Number of further intervals into which the counts were carried over. */
  carried = 0;
  private readonly latencies: { readonly at: number; readonly ms: number }[] = [];

  count(outcome: 'success' | 'failure'): void {
    const failed = outcome === 'failure' ? 1 : 0;
    this.failures += failed;
    this.successes += 1 - failed;
    this.consecutiveFailures = failed === 0 ? 0 : this.consecutiveFailures + 1;
    this.failureShare += (failed - this.failureShare) * FAILURE_WEIGHT;
  }

  /** Adds a latency: the time until a response, or until the client stopped waiting for one. */
  addLatency(ms: number, at: number): void {
    const last = this.latencies.at(-1);
    if (last !== undefined && at - last.at < SAMPLE_SPACING_MS) return;
    this.latencies.push({ at, ms });
    const isOld = at - (this.latencies[0]?.at ?? at) > MAX_SAMPLE_AGE_MS;
    if (isOld || this.latencies.length > MAX_SAMPLES) this.latencies.shift();
  }

  /** Number of kept latencies; some of them may no longer be recent. */
  get keptLatencies(): number {
    return this.latencies.length;
  }

  /** Recent latencies in milliseconds, oldest first. */
  latenciesAt(now: number): number[] {
    return this.latencies.filter(({ at }) => now - at <= MAX_SAMPLE_AGE_MS).map(({ ms }) => ms);
  }

  startInterval(): void {
    this.successes = 0;
    this.failures = 0;
    this.carried = 0;
  }

  /** Discards all counts and latencies. Called when the endpoint is ejected and when it returns. */
  clear(): void {
    this.startInterval();
    this.consecutiveFailures = 0;
    this.failureShare = 0;
    this.latencies.length = 0;
  }
}

/** Median latency of an endpoint that is slower than the others, and the median latency of the others. */
export interface LatencyOutlier {
  readonly medianMs: number;
  readonly othersMs: number;
}

/** Minimum number of samples of an endpoint, and of the others together. */
export const MIN_LATENCY_SAMPLES = 16;
/** Minimum difference between the medians in milliseconds. A smaller difference does not justify an ejection. */
const MIN_DIFFERENCE_MS = 10;
/** Minimum score of the rank-sum test. */
const MIN_SCORE = 5;

/**
 * Compares the latencies of an endpoint with those of the others, in milliseconds. The endpoint is an outlier if its median is at least
 * `factor` times the median of the others and at least 10 ms higher, and if the difference is statistically significant. The medians alone
 * would eject healthy endpoints: if methods take 5 ms and 200 ms, the median of a small sample can be either value.
 */
export function latencyOutlier(own: readonly number[], all: Float64Array, factor: number): LatencyOutlier | undefined {
  const count = all.length - own.length;
  if (own.length < MIN_LATENCY_SAMPLES || count < MIN_LATENCY_SAMPLES) return undefined;
  const medianMs = median(own);
  // The median of the others is at least this value, because removing samples never lowers the value at a given rank. The check
  // avoids the exact comparison for most endpoints.
  if (medianMs < (all[(count - 1) >> 1] ?? 0) * factor) return undefined;
  const others = withoutSorted(all, sortedNumbers(own));
  const othersMs = medianOfSorted(others);
  if (medianMs < othersMs * factor || medianMs - othersMs < MIN_DIFFERENCE_MS) return undefined;
  return rankSumScore(own, others) >= MIN_SCORE ? { medianMs, othersMs } : undefined;
}

export function median(values: readonly number[]): number {
  return medianOfSorted(sortedNumbers(values));
}

function medianOfSorted(sorted: Float64Array): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

export function sortedNumbers(values: readonly number[]): Float64Array {
  // Sorting a typed array is ten times as fast as sorting a plain array.
  return new Float64Array(values).sort();
}

/** Returns `all` without the values of `part`; both are sorted, and `all` contains `part`. */
export function withoutSorted(all: Float64Array, part: Float64Array): Float64Array {
  let next = 0;
  return all.filter((value) => {
    if (value !== part[next]) return true;
    next += 1;
    return false;
  });
}

/** Score of the Mann-Whitney rank-sum test: by how many standard deviations `own` ranks above `others`, which are sorted. */
function rankSumScore(own: readonly number[], others: Float64Array): number {
  let wins = 0;
  for (const value of own) {
    const below = countBelow(others, value, false);
    wins += below + (countBelow(others, value, true) - below) / 2;
  }
  const pairs = own.length * others.length;
  const deviation = Math.sqrt((pairs * (own.length + others.length + 1)) / 12);
  return (wins - pairs / 2) / deviation;
}

/** Number of values in `sorted` that are below `limit`, or equal to it if `orEqual` is true. */
function countBelow(sorted: Float64Array, limit: number, orEqual: boolean): number {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    const value = sorted[middle] ?? Infinity;
    if (value < limit || (orEqual && value === limit)) from = middle + 1;
    else to = middle;
  }
  return from;
}
