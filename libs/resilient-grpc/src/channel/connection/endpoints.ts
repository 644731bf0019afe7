import type { EventHub } from '../../call/event-hub.js';
import type { EndpointSnapshot } from '../../call/connectivity.js';
import { slowStartWeight, type EjectionPolicy } from '../../policy/ejection/ejection-policy.js';
import { endpointOutcome, EndpointRecord, median } from '../../policy/ejection/endpoint-record.js';
import {
  decideEjections,
  decideReturns,
  NEVER_EJECTED,
  type EjectionDecision,
  type EjectionState,
  type EndpointView,
} from '../../policy/ejection/next-ejection.js';
import { type AttemptEvidence, classify, isGrpcResponse } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import { moment, type Clock, type Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import type { EndpointHealth } from './health-watch.js';

/** A load-balancing policy's connection, which can be removed from the pick set. */
export interface EndpointGate {
  readonly address: string;
  readonly isReady: boolean;
  /** Adds the connection to the pick set, or removes it. */
  include(isIncluded: boolean): void;
}

export interface EndpointAttempt extends AttemptEvidence {
  /** Address of the attempt's connection; `undefined` if none was picked. */
  readonly peer: string | undefined;
  /** Start of the attempt, in monotonic milliseconds. */
  readonly startedAt: number;
  /** True if the time until the response measures the latency of the endpoint. */
  readonly measuresLatency: boolean;
}

/** A load-balancing policy whose picks depend on weights and health. */
export interface WeightedPolicy {
  /** Called after the health, the ejection, or the slow start of an endpoint changes, and periodically during a slow start. */
  refresh(): void;
}

/** Health of a service at the endpoints in use. */
export interface EndpointsHealth {
  readonly service: string;
  /** Health by address; 'disconnected' while there is no connection. */
  readonly endpoints: ReadonlyMap<string, EndpointHealth | 'disconnected'>;
}

interface Endpoint {
  /** The first of `addresses`, which identifies the endpoint. */
  readonly address: string;
  readonly addresses: readonly string[];
  readonly gates: Set<EndpointGate>;
  readonly record: EndpointRecord;
  state: EjectionState;
  health: EndpointHealth;
  /** True if the endpoint was usable at the last change. */
  wasUsable: boolean;
  /** Start of the latest period in which the endpoint was usable. Interruptions of less than a second do not end the period. */
  usableSince: number;
  /** Time at which the endpoint last became unusable. */
  lastUsableAt: number;
  /** Time at which the slow start of the endpoint began. */
  slowSince: number;
  /** Number of attempts that ended in the current share period. */
  attempts: number;
  /** Number of attempts that ended in the previous share period. */
  lastAttempts: number;
  /** True if a limit prevents the ejection of the endpoint. The event that reports the limit is not repeated while this is true. */
  isSpared: boolean;
}

const SWEEP_MS = 250;
/**
 * Maximum delay of a sweep, in milliseconds. A longer delay shows that the process was blocked. Endpoints then seem silent, because their
 * responses are unread, so the sweep ejects none.
 */
const MAX_SWEEP_DELAY_MS = 250;
/** Time in milliseconds for which an endpoint must be usable to count as warm. An interruption shorter than this requires no slow start. */
const WARM_MS = 1_000;
const SHARE_PERIOD_MS = 10_000;
/** Maximum number of endpoints that are kept, unless more are in use. */
const MAX_KNOWN_ENDPOINTS = 256;

/**
 * Health of the endpoints of a channel. Ejects the endpoints that perform worse than the others. Also excludes every endpoint that does not
 * count as serving, if health is checked. A wire and its replacement share this object, so that both eject the same endpoints. A
 * replacement gets its own object if the ejection rules or the health check changed. The object exists only if the client ejects or checks
 * endpoints.
 */
export class Endpoints {
  /** Known endpoints, in the order of their first use. */
  private readonly endpoints = new Set<Endpoint>();
  private readonly byAddress = new Map<string, Endpoint>();
  private readonly policies = new Set<WeightedPolicy>();
  private readonly unanswered = new Set<EndpointAttempt>();
  private timer: Timer | undefined;
  private dueAt = 0;
  private intervalEndsAt = 0;
  private shareEndsAt = 0;
  /** True if an attempt has started since the last sweep. */
  private isActive = false;
  /** True if attempts were counted in the current interval. Sweeps then continue until its end, even if no call is running by then. */
  private isCounting = false;
  /** Median latency of all endpoints. It is computed at most once per sweep, when an attempt fails; `undefined` until then. */
  private usual: { readonly ms: number | undefined } | undefined;
  private isClosed = false;

  constructor(
    /** Ejection rules; `undefined` if endpoints are checked but never ejected. */
    private readonly policy: EjectionPolicy | undefined,
    /** Full name of the service whose health the endpoints report; `undefined` if health is not checked. */
    private readonly healthService: string | undefined,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly events: EventHub,
  ) {}

  /** State of the endpoint at `address`; `undefined` if it is unknown. */
  describe(address: string): EndpointSnapshot | undefined {
    const endpoint = this.byAddress.get(address);
    if (endpoint === undefined) return undefined;
    const { state, health, record } = endpoint;
    const now = this.clock.now();
    const latencies = record.latenciesAt(now);
    const attempts = (one: Endpoint): number => one.attempts + one.lastAttempts;
    const all = [...this.endpoints].reduce((sum, one) => sum + attempts(one), 0);
    return {
      ...(this.checksHealth && { health }),
      ...(this.policy !== undefined && {
        share: all === 0 ? 0 : attempts(endpoint) / all,
        weight: this.weightOf(address),
      }),
      ...(latencies.length > 0 && { latencyMs: median(latencies) }),
      ...(state.kind === 'ejected' && {
        ejected: {
          ...state.evidence,
          until: moment(this.clock.epoch() + state.until - now).toISOString(),
          ejections: state.ejections,
        },
      }),
    };
  }

  /** Checked service, and its health at the endpoints in use, by address; `undefined` if health is not checked. */
  get health(): EndpointsHealth | undefined {
    const { healthService: service } = this;
    if (service === undefined) return undefined;
    const endpoints = this.used.map((one) => [one.address, this.isReady(one) ? one.health : 'disconnected'] as const);
    return { service, endpoints: new Map(endpoints) };
  }

  /**
   * True if health is checked. An endpoint then receives calls only while it reports that it is serving, or if it does not implement the
   * health service.
   */
  get checksHealth(): boolean {
    return this.healthService !== undefined;
  }

  // ── connections ──

  /** Adds a policy, and returns a function that removes it. */
  join(policy: WeightedPolicy): () => void {
    this.policies.add(policy);
    return () => {
      this.policies.delete(policy);
    };
  }

  /**
   * Combines the addresses of each endpoint, such as an IPv4 and an IPv6 address. They belong to one server, so they are ejected together
   * (gRFC A61).
   */
  group(endpoints: readonly (readonly string[])[]): void {
    for (const addresses of endpoints) {
      const known = this.byAddress.get(addresses[0] ?? '')?.addresses;
      if (addresses.length === 1 && (known === undefined || known.length === 1)) continue;
      if (known?.length !== addresses.length || known.some((address, index) => address !== addresses[index]))
        this.regroup(addresses);
    }
  }

  /** Adds a connection of a policy. */
  use(gate: EndpointGate): void {
    const endpoint = this.endpoint(gate.address);
    endpoint.gates.add(gate);
    // The last connection of the endpoint may have ended while the endpoint was not in use, so its last health may be outdated.
    if (!this.isReady(endpoint)) endpoint.health = 'pending';
    gate.include(this.isIncluded(endpoint));
    this.usabilityChanged(endpoint);
    // Schedules a sweep, because none ran for the endpoint while it was not in use.
    if (endpoint.state.kind === 'ejected') this.sweepLater();
  }

  release(gate: EndpointGate): void {
    const endpoint = this.endpoint(gate.address);
    endpoint.gates.delete(gate);
    this.usabilityChanged(endpoint);
    // Ejected endpoints are not included again here, because round_robin releases all connections before it uses them again.
  }

  /** Reports that a policy has applied an address update: it has added its new connections and released the old ones. */
  addressesChanged(): void {
    this.decideReturns();
  }

  connectionChanged(address: string, isReady: boolean): void {
    const endpoint = this.endpoint(address);
    if (!isReady && !this.isReady(endpoint)) endpoint.health = 'pending';
    this.update(endpoint);
    this.decideReturns();
  }

  /** Reports that a connection was lost without GOAWAY. The attempts that it carried count as one failure in total. */
  connectionLost(address: string): void {
    this.count(this.endpoint(address), 'failure');
  }

  healthChanged(address: string, health: EndpointHealth): void {
    const endpoint = this.endpoint(address);
    if (endpoint.health === health) return;
    const before = endpoint.health;
    endpoint.health = health;
    this.update(endpoint);
    if (this.events.wanted) this.events.emit({ type: 'endpoint', change: 'health', address, from: before, to: health });
    this.decideReturns();
    this.refresh();
  }

  /**
   * True if the endpoint at `address` counts as serving: it reports this, it does not implement the health service, or its health is not
   * checked.
   */
  isServingAt(address: string): boolean {
    return this.isServing(this.endpoint(address));
  }

  /** True if an endpoint is connected and its health is still unknown. */
  get isHealthPending(): boolean {
    if (!this.checksHealth) return false;
    return [...this.endpoints].some((one) => one.health === 'pending' && this.isReady(one));
  }

  /** Reason why no endpoint is usable, although at least one is connected; `undefined` otherwise. */
  get unusableReason(): string | undefined {
    const ready = [...this.endpoints].filter((one) => this.isReady(one));
    if (ready.length === 0 || ready.some((one) => this.isServing(one))) return undefined;
    const list = ready.map(({ address, health }) => `${address}: ${health}`).join(', ');
    return `no endpoint is serving (${list})`;
  }

  /** Fraction of a full share of the calls that the endpoint at `address` receives: 1, or less during its slow start. */
  weightOf(address: string): number {
    const { policy } = this;
    const endpoint = this.byAddress.get(address);
    if (policy === undefined || policy.slowStartMs === 0 || endpoint === undefined) return 1;
    const now = this.clock.now();
    const weight = (one: Endpoint): number => slowStartWeight(now - one.slowSince, policy.slowStartMs);
    const own = weight(endpoint);
    if (own === 1) return 1;
    let largest = own;
    // Relative to the largest weight, so that all calls are shared even if all endpoints are in their slow start.
    for (const other of this.endpoints) {
      if (this.isUsable(other) && other.state.kind === 'included') largest = Math.max(largest, weight(other));
    }
    return own / largest;
  }

  get isSlowStarting(): boolean {
    const { policy } = this;
    if (policy === undefined || policy.slowStartMs === 0) return false;
    const now = this.clock.now();
    for (const one of this.endpoints) {
      if (now - one.slowSince < policy.slowStartMs && this.isReady(one)) return true;
    }
    return false;
  }

  // ── attempts ──

  started(attempt: EndpointAttempt): void {
    if (this.policy === undefined) return;
    this.isActive = true;
    if (attempt.measuresLatency) this.unanswered.add(attempt);
    this.sweepLater();
  }

  /** Reports the response headers of an attempt. */
  answered(attempt: EndpointAttempt): void {
    const endpoint = this.endpointOf(attempt.peer);
    if (endpoint === undefined) return;
    endpoint.record.respondedAt = this.clock.now();
    if (this.unanswered.delete(attempt)) this.addLatency(endpoint, attempt);
  }

  ended(attempt: EndpointAttempt): void {
    const wasUnanswered = this.unanswered.delete(attempt);
    const endpoint = this.endpointOf(attempt.peer);
    if (endpoint === undefined) return;
    endpoint.attempts += 1;
    const now = this.clock.now();
    if (attempt.code === StatusCode.OK && attempt.endedHere === 'no') {
      endpoint.record.respondedAt = now;
      this.count(endpoint, 'success');
      if (wasUnanswered) this.addLatency(endpoint, attempt);
      return;
    }
    const verdict = classify(attempt);
    const outcome = endpointOutcome(verdict, attempt, now - attempt.startedAt, this.usualMs(now));
    if (outcome !== 'none') this.count(endpoint, outcome);
    const { kind } = verdict;
    if (isGrpcResponse(attempt)) endpoint.record.respondedAt = now;
    // An attempt that the client ended would have taken even longer, so its duration is sampled as a lower bound. Errors are often faster
    // than responses, so they are not sampled.
    if (wasUnanswered && (kind === 'cancelled' || kind === 'deadline' || kind === 'attempt-timeout')) {
      this.addLatency(endpoint, attempt);
    }
    const { consecutiveFailures } = endpoint.record;
    if (outcome === 'failure' && consecutiveFailures % (this.policy?.consecutiveFailures ?? Infinity) === 0) {
      this.decide(false, endpoint.address);
    }
  }

  close(): void {
    this.isClosed = true;
    this.timer?.clear();
    this.timer = undefined;
    this.unanswered.clear();
  }

  private count({ record }: Endpoint, outcome: 'success' | 'failure'): void {
    record.count(outcome);
    // Before `isCounting` is set, because it may begin an interval.
    this.sweepLater();
    this.isCounting = true;
  }

  private addLatency({ record }: Endpoint, { startedAt }: EndpointAttempt): void {
    const now = this.clock.now();
    record.addLatency(now - startedAt, now);
  }

  private endpointOf(peer: string | undefined): Endpoint | undefined {
    return this.policy === undefined || peer === undefined ? undefined : this.byAddress.get(peer);
  }

  // ── decisions ──

  private sweepLater(): void {
    if (this.timer !== undefined || this.isClosed || this.policy === undefined) return;
    const now = this.clock.now();
    this.dueAt = now + SWEEP_MS;
    // The first interval has not started, or the last one ended without any attempt.
    if (now >= this.intervalEndsAt && !this.isCounting) this.intervalEndsAt = now + this.policy.intervalMs;
    this.timer = this.clock.setTimer(() => {
      const isLate = this.clock.now() - this.dueAt > MAX_SWEEP_DELAY_MS;
      // Deferred until pending responses are read, because the event loop runs timers before it reads sockets.
      this.clock.defer(() => {
        this.timer = undefined;
        if (!this.isClosed) this.sweep(isLate);
      });
    }, SWEEP_MS);
  }

  private sweep(isLate: boolean): void {
    const now = this.clock.now();
    const wasSlow = this.isSlowStarting;
    if (now >= this.shareEndsAt) this.startSharePeriod(now);
    this.usual = undefined;
    if (!isLate) {
      const isIntervalOver = now >= this.intervalEndsAt;
      this.decide(isIntervalOver);
      if (isIntervalOver) this.startInterval(now);
    }
    if (wasSlow) this.refresh();
    const isNeeded = this.isActive || this.isCounting || this.unanswered.size > 0 || wasSlow || this.hasEjected;
    this.isActive = false;
    if (isNeeded) this.sweepLater();
  }

  /** True if an endpoint in use is ejected. */
  private get hasEjected(): boolean {
    for (const { state, gates } of this.endpoints) if (state.kind === 'ejected' && gates.size > 0) return true;
    return false;
  }

  /** Includes ejected endpoints again if their ejection time has passed, or if too few other endpoints are usable and not ejected. */
  private decideReturns(): void {
    const { policy, clock } = this;
    if (policy === undefined || this.isClosed || !this.hasEjected) return;
    const decisions = decideReturns(this.views(this.used), clock.now(), policy);
    for (const decision of decisions) this.apply(decision);
    if (decisions.length > 0) this.refresh();
  }

  /**
   * Ejects endpoints and includes ejected endpoints again, by the rules of the policy. Reports endpoints that a limit spares.
   * @param isIntervalOver true if the counts of the interval are complete; the two rate rules apply only then
   * @param failing address of an endpoint that has just failed; only the consecutive-failures rule is then applied, and only to this
   * endpoint
   */
  private decide(isIntervalOver: boolean, failing?: string): void {
    const { policy, clock, random, used } = this;
    if (policy === undefined || this.isClosed || used.length === 0) return;
    const decisions = decideEjections(this.views(used), clock.now(), isIntervalOver, policy, random, failing);
    const spared = new Set<string>();
    for (const decision of decisions) {
      if (decision.kind === 'spare') spared.add(decision.address);
      this.apply(decision);
    }
    if (isIntervalOver) for (const one of used) one.isSpared = spared.has(one.address);
    if (decisions.some(({ kind }) => kind !== 'spare')) this.refresh();
  }

  private get used(): readonly Endpoint[] {
    return [...this.endpoints].filter(({ gates }) => gates.size > 0);
  }

  private apply(decision: EjectionDecision): void {
    const endpoint = this.endpoint(decision.address);
    const { address, state: before } = endpoint;
    const { events, clock } = this;
    if (decision.kind === 'spare') {
      if (endpoint.isSpared) return;
      endpoint.isSpared = true;
      const { evidence, reason } = decision;
      if (events.wanted) events.emit({ type: 'endpoint', change: 'spared', address, evidence, limit: reason });
      return;
    }
    endpoint.state = decision.state;
    endpoint.record.clear();
    if (decision.kind === 'eject') {
      const { since, until, ejections, evidence } = decision.state;
      for (const attempt of this.unanswered)
        if (this.endpointOf(attempt.peer) === endpoint) this.unanswered.delete(attempt);
      if (events.wanted) {
        events.emit({ type: 'endpoint', change: 'ejected', address, evidence, forMs: until - since, ejections });
      }
    } else {
      endpoint.slowSince = clock.now();
      const ejectedMs = clock.now() - before.since;
      if (events.wanted) {
        events.emit({ type: 'endpoint', change: 'returned', address, reason: decision.reason, ejectedMs });
      }
    }
    this.update(endpoint);
    this.sweepLater();
  }

  private views(used: readonly Endpoint[]): EndpointView[] {
    const waiting = new Map<Endpoint, { count: number; oldestAt: number }>();
    for (const { peer, startedAt } of this.unanswered) {
      const endpoint = this.endpointOf(peer);
      if (endpoint === undefined) continue;
      const one = waiting.get(endpoint);
      if (one === undefined) waiting.set(endpoint, { count: 1, oldestAt: startedAt });
      // Keeps `oldestAt`, because attempts are added in the order in which they start.
      else one.count += 1;
    }
    return used.map((endpoint) => {
      const { address, state, record } = endpoint;
      const unanswered = waiting.get(endpoint) ?? { count: 0, oldestAt: Infinity };
      return { address, state, record, isUsable: this.isUsable(endpoint), unanswered };
    });
  }

  private startInterval(now: number): void {
    const { policy } = this;
    if (policy === undefined) return;
    this.intervalEndsAt = now + policy.intervalMs;
    this.isCounting = false;
    const minimum = policy.failurePercentage?.minimumAttempts ?? 0;
    for (const { record } of this.endpoints) {
      if (record.carried < policy.carriedIntervals && record.successes + record.failures < minimum) record.carried += 1;
      else record.startInterval();
    }
  }

  private startSharePeriod(now: number): void {
    this.shareEndsAt = now + SHARE_PERIOD_MS;
    for (const endpoint of this.endpoints) {
      endpoint.lastAttempts = endpoint.attempts;
      endpoint.attempts = 0;
    }
  }

  private usualMs(now: number): number | undefined {
    if (this.usual === undefined) {
      const all = [...this.endpoints].flatMap(({ record }) => record.latenciesAt(now));
      this.usual = { ms: all.length === 0 ? undefined : median(all) };
    }
    return this.usual.ms;
  }

  // ── state ──

  private update(endpoint: Endpoint): void {
    const isIncluded = this.isIncluded(endpoint);
    for (const gate of [...endpoint.gates]) gate.include(isIncluded);
    this.usabilityChanged(endpoint);
  }

  /** Begins the slow start of an endpoint that becomes usable, if it was not usable in the last second and another endpoint is warm. */
  private usabilityChanged(endpoint: Endpoint): void {
    const now = this.clock.now();
    const isUsable = this.isUsable(endpoint);
    if (isUsable === endpoint.wasUsable) return;
    endpoint.wasUsable = isUsable;
    if (!isUsable) {
      endpoint.lastUsableAt = now;
      return;
    }
    if (now - endpoint.lastUsableAt < WARM_MS) return;
    endpoint.usableSince = now;
    if (!this.hasWarm(endpoint, now)) return;
    endpoint.slowSince = now;
    if (!this.isSlowStarting) return;
    this.refresh();
    this.sweepLater();
  }

  /** True if another endpoint is warm. If none is warm (for example, after the client starts), all endpoints begin with a full share. */
  private hasWarm(endpoint: Endpoint, now: number): boolean {
    for (const other of this.endpoints) {
      if (other !== endpoint && other.wasUsable && now - other.usableSince >= WARM_MS) return true;
    }
    return false;
  }

  private isIncluded(endpoint: Endpoint): boolean {
    return endpoint.state.kind === 'included' && this.isServing(endpoint);
  }

  private isUsable(endpoint: Endpoint): boolean {
    return this.isServing(endpoint) && this.isReady(endpoint);
  }

  private isServing({ health }: Endpoint): boolean {
    return !this.checksHealth || health === 'serving' || health === 'unimplemented';
  }

  private isReady({ gates }: Endpoint): boolean {
    for (const gate of gates) if (gate.isReady) return true;
    return false;
  }

  private refresh(): void {
    for (const policy of [...this.policies]) policy.refresh();
  }

  private endpoint(address: string): Endpoint {
    return this.byAddress.get(address) ?? this.create([address]);
  }

  private create(addresses: readonly string[]): Endpoint {
    const endpoint: Endpoint = {
      address: addresses[0] ?? '',
      addresses,
      gates: new Set(),
      record: new EndpointRecord(),
      state: NEVER_EJECTED,
      health: 'pending',
      wasUsable: false,
      usableSince: -Infinity,
      lastUsableAt: -Infinity,
      slowSince: -Infinity,
      attempts: 0,
      lastAttempts: 0,
      isSpared: false,
    };
    this.forgetUnused();
    this.endpoints.add(endpoint);
    for (const address of addresses) this.byAddress.set(address, endpoint);
    return endpoint;
  }

  /** Creates an endpoint with `addresses` and the state of the endpoint that had the first address. */
  private regroup(addresses: readonly string[]): void {
    const former = new Set(addresses.map((address) => this.byAddress.get(address)));
    const known = this.byAddress.get(addresses[0] ?? '');
    const endpoint = this.create(addresses);
    if (known !== undefined)
      Object.assign(endpoint, { ...known, addresses, address: endpoint.address, gates: new Set() });
    for (const one of former) {
      if (one === undefined) continue;
      for (const gate of one.gates) if (addresses.includes(gate.address)) endpoint.gates.add(gate);
      this.endpoints.delete(one);
      // An address that is no longer in the group becomes a separate endpoint with the same health, but without a history.
      for (const address of one.addresses) {
        if (this.byAddress.get(address) !== one) continue;
        const rest = this.create([address]);
        rest.health = one.health;
        for (const gate of one.gates) if (gate.address === address) rest.gates.add(gate);
        this.update(rest);
      }
    }
    this.update(endpoint);
  }

  /** Removes the oldest unused endpoint if there are too many, because names resolve to different addresses over time. */
  private forgetUnused(): void {
    if (this.endpoints.size < MAX_KNOWN_ENDPOINTS) return;
    for (const endpoint of this.endpoints) {
      if (endpoint.gates.size > 0) continue;
      this.endpoints.delete(endpoint);
      for (const address of endpoint.addresses) this.byAddress.delete(address);
      return;
    }
  }
}
