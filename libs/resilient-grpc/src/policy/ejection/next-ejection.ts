import { jitter, type Random } from '../../time/random.js';
import type { EjectionPolicy, RateRule } from './ejection-policy.js';
import {
  type EndpointRecord,
  latencyOutlier,
  MIN_LATENCY_SAMPLES,
  sortedNumbers,
  withoutSorted,
} from './endpoint-record.js';

/**
 * Evidence for an ejection, by rule. Durations are in milliseconds. A minor version may add rules; handle unknown ones in a default
 * branch.
 */
export type EjectionEvidence =
  /** Consecutive failed attempts (Envoy: `consecutive_gateway_failure`). */
  | { readonly reason: 'consecutive-failures'; readonly failures: number }
  /** gRFC A50, failure percentage. */
  | { readonly reason: 'failure-percentage'; readonly failures: number; readonly attempts: number }
  /** gRFC A50, success rate. `threshold` is the rate below which endpoints are ejected, 0 to 1. */
  | {
      readonly reason: 'success-rate';
      readonly failures: number;
      readonly attempts: number;
      readonly threshold: number;
    }
  /** Median latency of the endpoint and of the others. */
  | { readonly reason: 'latency'; readonly medianMs: number; readonly othersMs: number }
  /** No response for `silentMs`, while `unanswered` unary attempts are waiting and other endpoints respond. */
  | { readonly reason: 'no-response'; readonly silentMs: number; readonly unanswered: number };

/**
 * State of an endpoint. `ejections` increases by one with each ejection. Before that, it is reduced by one for each `ejectionDecayMs` that
 * has passed since the endpoint last returned.
 */
export type EjectionState =
  | { readonly kind: 'included'; readonly since: number; readonly ejections: number }
  | {
      readonly kind: 'ejected';
      readonly since: number;
      readonly until: number;
      readonly ejections: number;
      readonly evidence: EjectionEvidence;
    };

export const NEVER_EJECTED: EjectionState = { kind: 'included', since: -Infinity, ejections: 0 };

export interface EndpointView {
  readonly address: string;
  readonly state: EjectionState;
  /** True if the endpoint is connected and serving, whether it is ejected or not. */
  readonly isUsable: boolean;
  readonly record: EndpointRecord;
  /** Unary attempts without a response, and the start of the oldest. */
  readonly unanswered: { readonly count: number; readonly oldestAt: number };
}

/** A change of an endpoint's state, or the reason why a detected outlier is not ejected. */
export type EjectionDecision =
  | {
      readonly kind: 'eject';
      readonly address: string;
      readonly state: Extract<EjectionState, { kind: 'ejected' }>;
    }
  | {
      readonly kind: 'return';
      readonly address: string;
      /** 'panic': too few other endpoints are usable and not ejected. */
      readonly reason: 'expired' | 'panic';
      readonly state: Extract<EjectionState, { kind: 'included' }>;
    }
  | {
      readonly kind: 'spare';
      readonly address: string;
      readonly evidence: EjectionEvidence;
      readonly reason: 'panic-threshold' | 'max-ejection-percent' | 'enforcement';
    };

const EJECTION_JITTER = 0.1;
/** Minimum time in milliseconds without a response before an endpoint is ejected for silence. */
const MIN_SILENCE_MS = 1_000;
/** Minimum silence before an ejection, as a multiple of the longest recent latency of the other endpoints. */
const MIN_SILENCE_LATENCIES = 2;
/** Minimum number of unary attempts that are waiting for a response. */
const MIN_UNANSWERED = 5;
/** Maximum failure share of the other endpoints, as a multiple of the endpoint's own share. */
const MAX_OTHERS_FAILURE_FACTOR = 0.5;

/**
 * Decides which endpoints are ejected and which return. It is called every 250 ms as long as attempts start, a unary attempt has no
 * response, or an endpoint is ejected or in slow start. It is not called if the timer fires late. It is also called after consecutive
 * failures of an endpoint.
 *
 * @param isIntervalOver true if the counts of the interval are complete; the two rate rules apply only then
 * @param failing address of the endpoint that has just failed. If set, only the consecutive-failures rule is applied, and only to this
 * endpoint. The other rules would take too much CPU time while many endpoints are failing.
 */
export function decideEjections(
  endpoints: readonly EndpointView[],
  now: number,
  isIntervalOver: boolean,
  policy: EjectionPolicy,
  random: Random,
  failing?: string,
): EjectionDecision[] {
  const fleet = new Fleet(endpoints, policy, now);
  const decisions = decideReturns(endpoints, now, policy, fleet);
  const minSuccessRate = isIntervalOver ? successRateThreshold(fleet.included, policy) : undefined;
  for (const endpoint of fleet.candidates) {
    const { address, state } = endpoint;
    if (failing !== undefined && address !== failing) continue;
    const evidence =
      failing === undefined
        ? evidenceOf(endpoint, fleet, now, isIntervalOver, minSuccessRate, policy)
        : consecutiveFailures(endpoint, fleet, policy);
    if (evidence === undefined) continue;
    const spared = fleet.sparedBy ?? sparedByEnforcement(evidence, policy, random);
    if (spared !== undefined) {
      decisions.push({ kind: 'spare', address, evidence, reason: spared });
      continue;
    }
    const ejections = remainingEjections(state, now, policy) + 1;
    const ms = Math.min(policy.baseEjectionMs * ejections, Math.max(policy.baseEjectionMs, policy.maxEjectionMs));
    const until = now + jitter(ms, EJECTION_JITTER, random);
    decisions.push({ kind: 'eject', address, state: { kind: 'ejected', since: now, until, ejections, evidence } });
    fleet.eject(endpoint);
  }
  return decisions;
}

/** Decides which endpoints return. It is called after a change of the addresses, or of an endpoint's connection or health. */
export function decideReturns(
  endpoints: readonly EndpointView[],
  now: number,
  policy: EjectionPolicy,
  fleet = new Fleet(endpoints, policy, now),
): EjectionDecision[] {
  const decisions: EjectionDecision[] = [];
  for (const { address, state } of endpoints) {
    if (state.kind !== 'ejected' || now < state.until) continue;
    decisions.push({ kind: 'return', address, reason: 'expired', state: included(state, now) });
    fleet.include(address);
  }
  const ejected = endpoints.flatMap(({ address, state, isUsable }) =>
    state.kind === 'ejected' && isUsable && now < state.until ? [{ address, state }] : [],
  );
  for (const { address, state } of ejected.sort((a, b) => a.state.until - b.state.until)) {
    if (!fleet.isInPanic) break;
    decisions.push({ kind: 'return', address, reason: 'panic', state: included(state, now) });
    fleet.include(address);
  }
  return decisions;
}

/** The endpoints during one decision, with the changes decided so far. */
class Fleet {
  private readonly ejected: Set<string>;
  private readonly returned = new Set<string>();
  private usable: readonly EndpointView[] | undefined;
  private sorted: Float64Array | undefined;

  constructor(
    private readonly endpoints: readonly EndpointView[],
    private readonly policy: EjectionPolicy,
    private readonly now: number,
  ) {
    this.ejected = new Set(endpoints.filter(({ state }) => state.kind === 'ejected').map(({ address }) => address));
  }

  get included(): readonly EndpointView[] {
    this.usable ??= this.endpoints.filter(({ address, isUsable }) => isUsable && !this.ejected.has(address));
    return this.usable;
  }

  get latencies(): Float64Array {
    this.sorted ??= sortedNumbers(this.included.flatMap(({ record }) => record.latenciesAt(this.now)));
    return this.sorted;
  }

  /** Included endpoints that may be ejected now. Excludes an endpoint that has just returned, because it has no new evidence yet. */
  get candidates(): readonly EndpointView[] {
    return this.included.filter(({ address }) => !this.returned.has(address));
  }

  get isInPanic(): boolean {
    return this.included.length < this.minimum;
  }

  /** Reason why no further endpoint may be ejected; `undefined` if another one may be. */
  get sparedBy(): 'panic-threshold' | 'max-ejection-percent' | undefined {
    if (this.included.length - 1 < this.minimum) return 'panic-threshold';
    const percent = (this.ejected.size * 100) / this.endpoints.length;
    return percent >= this.policy.maxEjectionPercent ? 'max-ejection-percent' : undefined;
  }

  others(endpoint: EndpointView): readonly EndpointView[] {
    return this.included.filter((other) => other !== endpoint);
  }

  include(address: string): void {
    this.ejected.delete(address);
    this.returned.add(address);
    this.usable = undefined;
    this.sorted = undefined;
  }

  eject({ address, record }: EndpointView): void {
    this.ejected.add(address);
    this.usable = undefined;
    this.sorted &&= withoutSorted(this.sorted, sortedNumbers(record.latenciesAt(this.now)));
  }

  private get minimum(): number {
    return Math.max(1, Math.ceil((this.endpoints.length * this.policy.panicThresholdPercent) / 100));
  }
}

function evidenceOf(
  endpoint: EndpointView,
  fleet: Fleet,
  now: number,
  isIntervalOver: boolean,
  minSuccessRate: number | undefined,
  policy: EjectionPolicy,
): EjectionEvidence | undefined {
  if (fleet.included.length < 2) return undefined;
  const failing = consecutiveFailures(endpoint, fleet, policy);
  if (failing !== undefined) return failing;
  const byRate = isIntervalOver ? rateEvidence(endpoint, fleet, minSuccessRate, policy) : undefined;
  if (byRate !== undefined || policy.latencyFactor === undefined) return byRate;
  const slow = latencyEvidence(endpoint.record, fleet, now, policy.latencyFactor);
  return slow ?? noResponseEvidence(endpoint, fleet, now);
}

function latencyEvidence(
  record: EndpointRecord,
  fleet: Fleet,
  now: number,
  factor: number,
): EjectionEvidence | undefined {
  // Checked first, because reading and sorting the samples is the largest cost of a decision. Most endpoints of a client with few calls
  // have too few samples.
  if (record.keptLatencies < MIN_LATENCY_SAMPLES) return undefined;
  const slow = latencyOutlier(record.latenciesAt(now), fleet.latencies, factor);
  return slow && { reason: 'latency', ...slow };
}

function consecutiveFailures(
  endpoint: EndpointView,
  fleet: Fleet,
  policy: EjectionPolicy,
): EjectionEvidence | undefined {
  const { consecutiveFailures: failures, failureShare } = endpoint.record;
  if (policy.consecutiveFailures === undefined || failures < policy.consecutiveFailures) return undefined;
  const others = fleet.others(endpoint);
  if (others.length === 0) return undefined;
  // If all endpoints are failing, ejecting one only moves its calls to others that are also failing.
  const othersShare = sumOf(others, (other) => other.record.failureShare) / others.length;
  return othersShare <= failureShare * MAX_OTHERS_FAILURE_FACTOR
    ? { reason: 'consecutive-failures', failures }
    : undefined;
}

function rateEvidence(
  endpoint: EndpointView,
  fleet: Fleet,
  minSuccessRate: number | undefined,
  { successRate, failurePercentage }: EjectionPolicy,
): EjectionEvidence | undefined {
  const { successes, failures } = endpoint.record;
  const attempts = successes + failures;
  // `minimumAttempts` may be 0, but an endpoint without attempts has no rate.
  if (attempts === 0) return undefined;
  if (successRate !== undefined && minSuccessRate !== undefined && attempts >= successRate.minimumAttempts) {
    if (successes / attempts < minSuccessRate)
      return { reason: 'success-rate', failures, attempts, threshold: minSuccessRate };
  }
  if (failurePercentage === undefined || attempts < failurePercentage.minimumAttempts) return undefined;
  if ((failures * 100) / attempts <= failurePercentage.threshold) return undefined;
  if (withAttempts(fleet.included, failurePercentage.minimumAttempts).length < failurePercentage.minimumEndpoints)
    return undefined;
  const others = fleet.others(endpoint);
  const otherFailures = sumOf(others, (other) => other.record.failures);
  const otherAttempts = sumOf(others, (other) => other.record.failures + other.record.successes);
  const otherShare = otherAttempts === 0 ? 0 : otherFailures / otherAttempts;
  if (otherShare * failurePercentage.timesOthers > failures / attempts) return undefined;
  return { reason: 'failure-percentage', failures, attempts };
}

/** Success rate below which gRFC A50 ejects an endpoint; `undefined` without that rule, or if too few endpoints have enough attempts. */
function successRateThreshold(included: readonly EndpointView[], { successRate }: EjectionPolicy): number | undefined {
  if (successRate === undefined) return undefined;
  const counted = withAttempts(included, successRate.minimumAttempts);
  if (counted.length < successRate.minimumEndpoints) return undefined;
  const rates = counted.map(({ record: { successes, failures } }) => successes / (successes + failures));
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
  return mean - Math.sqrt(variance) * (successRate.stdevFactor / 1_000);
}

/** Returns the evidence that an endpoint stopped responding while others respond; `undefined` if it did not. */
function noResponseEvidence(endpoint: EndpointView, fleet: Fleet, now: number): EjectionEvidence | undefined {
  const { record, unanswered } = endpoint;
  if (unanswered.count < MIN_UNANSWERED) return undefined;
  const from = Math.max(record.respondedAt, unanswered.oldestAt);
  const silentMs = now - from;
  if (silentMs < MIN_SILENCE_MS) return undefined;
  const others = withoutSorted(fleet.latencies, sortedNumbers(record.latenciesAt(now)));
  if (silentMs < MIN_SILENCE_LATENCIES * (others.at(-1) ?? 0)) return undefined;
  if (!fleet.others(endpoint).some((other) => other.record.respondedAt > from)) return undefined;
  return { reason: 'no-response', silentMs, unanswered: unanswered.count };
}

/** Returns 'enforcement' if the enforcement percentage of the rule prevents the ejection. */
function sparedByEnforcement(
  evidence: EjectionEvidence,
  policy: EjectionPolicy,
  random: Random,
): 'enforcement' | undefined {
  const { successRate, failurePercentage } = policy;
  const rules: Partial<Record<EjectionEvidence['reason'], RateRule | undefined>> = {
    'success-rate': successRate,
    'failure-percentage': failurePercentage,
  };
  const percent = rules[evidence.reason]?.enforcementPercent ?? 100;
  return percent < 100 && random() * 100 >= percent ? 'enforcement' : undefined;
}

function included({ ejections }: EjectionState, now: number): Extract<EjectionState, { kind: 'included' }> {
  return { kind: 'included', since: now, ejections };
}

/** Returns the number of past ejections, minus one for each `ejectionDecayMs` since the endpoint last returned; 0 or more. */
function remainingEjections(
  { ejections, since }: EjectionState,
  now: number,
  { ejectionDecayMs }: EjectionPolicy,
): number {
  return ejections === 0 ? 0 : Math.max(0, ejections - Math.floor((now - since) / ejectionDecayMs));
}

/** Returns the endpoints with at least `minimum` attempts, or at least one attempt if `minimum` is 0. */
function withAttempts(endpoints: readonly EndpointView[], minimum: number): readonly EndpointView[] {
  return endpoints.filter(({ record }) => record.successes + record.failures >= Math.max(1, minimum));
}

function sumOf(endpoints: readonly EndpointView[], value: (endpoint: EndpointView) => number): number {
  return endpoints.reduce((sum, endpoint) => sum + value(endpoint), 0);
}
