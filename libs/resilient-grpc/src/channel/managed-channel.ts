import { Metadata } from '@grpc/grpc-js';
import { maskAddress } from '../errors/error-message.js';
import type { Attempt, AttemptListener, AttemptRequest } from '../call/attempt.js';
import type { WatchFigures } from '../call/call-telemetry.js';
import type { CallTransport, ReadBarrier, ReleasedCallResult, Waiter, WaitRefusal } from '../call/call-transport.js';
import type { Connectivity, ConnectivityState, ConnectivityTransition } from '../call/connectivity.js';
import type { EventHub } from '../call/event-hub.js';
import { earlyReconnectMs, connectionAgeMs, connectTimeoutMs } from '../policy/reconnect/reconnect-times.js';
import type { EjectionPolicy } from '../policy/ejection/ejection-policy.js';
import { LoadBaseline } from '../policy/queue-release/load-baseline.js';
import { moment, type Clock, type Timer } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { CallRelease } from './outage/call-release.js';
import { hasTransportNames } from './quirks/client-seams.js';
import { GrpcJsWire } from './grpc-js/grpc-js-wire.js';
import { SocketWire } from './wire/socket-wire.js';
import type { ConnectionEvent, Wire } from './wire/wire.js';
import { ResolvedAddresses } from './resolved-addresses.js';
import type { BalancingSettings, ChannelSettings } from './channel-settings.js';
import type { ClosedConnection, EndedConnection } from './connection/address-histories.js';
import { childPolicies } from './connection/load-balancing-policy.js';
import { isSecure } from './channel-checks.js';
import { ConnectDiagnosis } from './connection/connect-diagnosis.js';
import { Endpoints } from './connection/endpoints.js';
import { OutageWatch, type OutageChange } from './outage/outage-watch.js';
import { CLOSED, outageRefusal, tooManyWaiting, isCall, WaitingCalls, StreamWait } from './outage/waiting-calls.js';
import { SuspicionWatch, type ReplacementRequest } from './connection/suspicion-watch.js';

export interface ChannelDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventHub;
  readonly changed: () => void;
  /** Returns the client's metadata for a health Watch. @defaultValue none */
  readonly healthMetadata?: (() => Promise<Metadata>) | undefined;
}

/** A wire that carries the new calls when it is READY. A replacement for a dead connection also waits for the suspicion watch. */
interface Replacement {
  readonly channel: Wire;
  readonly reason: 'credentials' | 'age' | 'load-balancing' | 'health-check' | 'suspicion';
}

const MAX_HISTORY_LENGTH = 100;
/** Minimum interval in milliseconds between two changes of load balancing. Each change opens new connections to all servers. */
const MIN_BALANCING_INTERVAL_MS = 10_000;
/** Maximum number of waiting calls that fail per event-loop turn. */
const REFUSAL_BATCH_SIZE = 256;

/**
 * One channel with its state and history. It queues calls that have no connection, releases or fails them, and decides when to reconnect.
 * Calls start only while it is READY, so grpc-js queues none.
 */
export class ManagedChannel implements CallTransport {
  readonly target: string;
  readonly history: ConnectivityTransition[] = [];
  isConnected = false;
  isClosed = false;
  /** Number of connections, including idle ones and those of replaced channels. Each counts until it closes or receives GOAWAY. */
  openConnections = 0;
  readonly waiting: WaitingCalls;
  private readonly load: LoadBaseline;
  private readonly release: CallRelease;
  readonly outage: OutageWatch;
  private readonly suspicion: SuspicionWatch;
  private readonly unwatchCredentials: () => void;
  /** Endpoints of new wires; `undefined` if they are neither ejected nor checked. */
  private endpoints: Endpoints | undefined;
  readonly addresses: ResolvedAddresses;
  /** Load balancing of new wires. */
  private balancing: BalancingSettings;
  /** The latest settings that `balance()` received; applied immediately, or when `balanceTimer` ends. */
  private latestBalancing: BalancingSettings;
  private balanceTimer: Timer | undefined;
  current: Wire;
  private replacement: Replacement | undefined;
  private replaced = 0;
  readBarrier: ReadBarrier;
  private state: ConnectivityState = 'IDLE';
  private since: number;
  /** Time at which the channel lost its connection or began to connect, in monotonic milliseconds. */
  unreachableSince = 0;
  private readonly diagnosis: ConnectDiagnosis;
  private lastClosedImmediately = false;
  /** Ends grpc-js's backoff early if calls are waiting and the failed attempt cost the server little. */
  private reconnectTimer: Timer | undefined;
  /** Time of the early reconnect, in milliseconds since 1970; `undefined` if none is scheduled. */
  private reconnectAt: number | undefined;
  private ageTimer: Timer | undefined;
  /** Number of failed connection attempts that the outage watch has not received yet. */
  private failures = 0;
  /** The child policy's error for the last failed attempts. */
  private summary: string | undefined;

  constructor(
    private readonly settings: ChannelSettings,
    private readonly dependencies: ChannelDependencies,
  ) {
    const { clock, random, events } = dependencies;
    this.target = maskAddress(settings.target);
    this.waiting = new WaitingCalls(clock);
    this.load = new LoadBaseline(clock.now());
    this.diagnosis = new ConnectDiagnosis({
      clock,
      doctorCommand: settings.doctorCommand,
      isSecure: () => isSecure(settings.credentials.current),
      certificateProblem: () => settings.credentials.certificateProblem,
      slowAttempt: () => (this.isConnected ? undefined : this.current.connecting?.slow),
      changed: dependencies.changed,
    });
    const { load, waiting, maxConnectionsPerEndpoint } = this;
    const { releaseWithinMs: withinMs, outageGraceMs, connectTimeoutMs } = settings;
    const usable = (): boolean => this.isConnected;
    const hasFreeStream = (): boolean => this.current.hasFreeStream;
    const current = (): Wire => this.current;
    const calls = (): number => waiting.calls;
    const streamWait = new StreamWait({ clock, events, maxConnectionsPerEndpoint, current, waiting: calls });
    this.release = new CallRelease(waiting, { load, clock, usable, hasFreeStream, streamWait, withinMs });
    const connecting = (): string | undefined => this.connecting;
    this.outage = new OutageWatch(
      outageGraceMs,
      { load, clock, events, waiting, connecting, connectTimeoutMs },
      this.outageChanged.bind(this),
    );
    this.suspicion = new SuspicionWatch(
      current,
      this.handleReplacementRequest.bind(this),
      () => this.replacement?.reason === 'suspicion' && this.replacement.channel.state === 'READY',
      clock,
      random,
      events,
    );
    this.addresses = new ResolvedAddresses(clock, events);
    this.balancing = settings;
    this.latestBalancing = settings;
    this.since = clock.epoch();
    this.endpoints = this.createEndpoints();
    this.current = this.createWire();
    this.readBarrier = this.current.readBarrier;
    this.unwatchCredentials = settings.credentials.watch(() => {
      this.replace('credentials');
    });
    if (settings.connection === 'warm') this.connect();
  }

  get ready(): boolean {
    // Calls that are already waiting for a stream come first.
    return this.isConnected && !this.release.awaitsStream && this.current.hasFreeStream;
  }

  get watchFigures(): WatchFigures | undefined {
    const { watchFigures } = this.addresses;
    return watchFigures && this.isClosed ? { failingMs: 0, ready: 0, notReady: 0, terminating: 0 } : watchFigures;
  }

  describe() {
    const { addresses, current, outage, waiting, replaced, suspicion } = this;
    const { connections: known, endpoints } = current;
    return {
      transport: current.transport,
      connections:
        endpoints === undefined ? known : known.map((one) => ({ ...one, ...endpoints.describe(one.address) })),
      outages: { total: outage.total, latest: [...outage.past] },
      waiting: waiting.calls,
      waitingForStream: this.release.awaitsStream ? waiting.calls : 0,
      oldestWaitMs: waiting.oldestMs(this.dependencies.clock.now()),
      replaced: replaced + suspicion.replacedByOthers,
      resolution: addresses.describe(current.nextLookupAt),
    };
  }

  /** Health that the endpoints in use report; `undefined` if health is not checked. */
  get endpointHealth(): Endpoints['health'] {
    return this.current.endpoints?.health;
  }

  get connectivity(): Connectivity {
    const { outage, diagnosis } = this;
    const lastError = diagnosis.cause;
    return {
      state: this.state,
      since: moment(this.since),
      ...(lastError === undefined ? {} : { lastError }),
      ...(this.isConnected ? {} : diagnosis.lastFailure),
      ...outage.describe(this.isConnected ? undefined : this.nextAttemptAt()),
    };
  }

  get doctorCommand(): string | undefined {
    return this.settings.doctorCommand;
  }

  get remedy(): string | undefined {
    return this.isConnected ? undefined : this.diagnosis.remedy;
  }

  whyNotReady(): string {
    const capacity = this.isConnected ? this.current.streamCapacity : undefined;
    if (capacity !== undefined) {
      const { connections, limit } = capacity;
      const on = connections === 1 ? '1 connection' : `${String(connections)} connections`;
      const streams = `the server allows ${String(limit)} concurrent ${limit === 1 ? 'stream' : 'streams'} on ${on}`;
      return `${this.target} has no free stream (${streams}; maxConnectionsPerSubchannel: ${String(this.maxConnectionsPerEndpoint())})`;
    }
    let reason = this.connecting ?? this.diagnosis.cause;
    if (this.isConnected)
      reason = this.release.isPaced ? 'waiting calls are being released at a limited rate' : undefined;
    return `${this.target} is ${this.state}${reason === undefined ? '' : ` (${reason})`}`;
  }

  /** Progress of the running connection attempt; `undefined` if there is none, or if it is unknown. */
  get connecting(): string | undefined {
    return this.state === 'CONNECTING' ? this.current.connecting?.progress : undefined;
  }

  // ── calls ──

  start(request: AttemptRequest, listener: AttemptListener): Attempt {
    const { clock } = this.dependencies;
    const now = clock.now();
    this.load.callStarted(now);
    return this.current.start(request, listener, now);
  }

  /** Milliseconds for which the connection to `peer` has been silent during a call that began at `startedAt`; `undefined` if unknown. */
  silentMs(peer: string, startedAt: number): number | undefined {
    return this.current.histories.at(peer)?.silenceMs(startedAt, this.dependencies.clock.now());
  }

  answered(latencyMs: number | undefined, path: string): void {
    if (latencyMs !== undefined) this.load.answered(latencyMs, path);
    // A response on a closing connection is no evidence about the next connection.
    if (!this.isConnected) return;
    this.current.histories.answered();
    this.outage.answered();
  }

  releasedCallEnded(result: ReleasedCallResult, call: Pick<Waiter, 'expectsPromptResponse' | 'path'>): void {
    this.release.ended(call, result);
  }

  wait(waiter: Waiter): void {
    const refusal = this.refusalFor(waiter);
    if (refusal === undefined) {
      this.waiting.push(waiter);
      this.outage.callQueued(waiter, this.isConnected);
    } else {
      this.outage.callsFailed(isCall(waiter) ? 1 : 0);
      this.dependencies.clock.defer(() => {
        waiter.refuse(refusal);
      });
    }
    if (this.isConnected) this.release.begin(this.outage.current !== undefined);
    else if (this.state === 'IDLE') this.connect();
    else this.considerReconnect();
  }

  dequeue(waiter: Waiter): void {
    if (!this.waiting.remove(waiter)) return;
    if (isCall(waiter)) this.outage.callAbandoned();
    if (this.release.awaitsStream && waiter.deadline <= this.dependencies.clock.epoch())
      this.streamWaitTimedOut(waiter);
  }

  private refusalFor(waiter: Waiter): WaitRefusal | undefined {
    if (this.isClosed) return CLOSED;
    // Without an outage, no limit applies to waiting calls. grpc-js would queue any number of calls, too.
    if (this.outage.current === undefined) return undefined;
    if (!this.isConnected && !this.mayWaitOut(waiter)) return this.outageRefusal();
    return tooManyWaiting(() => this.whyNotReady(), this.waiting, waiter.bytes, this.settings);
  }

  private mayWaitOut(waiter: Waiter): boolean {
    return waiter.waitForReady ?? this.outage.insideGrace;
  }

  /**
   * Counts the timeout against all connections. The streams of a dead connection never end, so other calls time out while they wait for a
   * free stream.
   */
  private streamWaitTimedOut({ waitingSince }: Waiter): void {
    const waitedMs = this.dependencies.clock.now() - waitingSince;
    for (const connection of this.current.histories.ready) this.suspicion.timedOut(connection, waitedMs);
  }

  // ── connecting ──

  /**
   * Connects the pending replacement, or else the current wire, if it is IDLE. Runs in a later event-loop turn, because a channel
   * that has just become idle has not completed that change.
   */
  private connect(): void {
    this.dependencies.clock.defer(() => {
      const channel = this.replacement?.channel ?? this.current;
      if (!this.isClosed && channel.state === 'IDLE') channel.connect();
    });
  }

  /** Schedules an early reconnect if the policy allows one and none is scheduled. */
  private considerReconnect(): void {
    if (this.state !== 'TRANSIENT_FAILURE' || this.reconnectTimer !== undefined) return;
    const { clock, random } = this.dependencies;
    const { current } = this.outage;
    const input = {
      insideGrace: this.outage.insideGrace,
      wanted: this.waiting.size > 0 || this.outage.hasFailedCalls,
      outageMs: current === undefined ? 0 : clock.now() - current.startedAt,
      lastClosedImmediately: this.lastClosedImmediately,
      failure: this.diagnosis.reconnectClass,
      connectAttempts: current?.connectAttempts ?? 1,
    };
    const delayMs = earlyReconnectMs(input, random);
    if (delayMs === undefined) return;
    this.reconnectAt = clock.epoch() + delayMs;
    this.reconnectTimer = clock.setTimer(() => {
      this.cancelReconnect();
      if (this.state === 'TRANSIENT_FAILURE') this.current.endBackoff();
    }, delayMs);
  }

  private cancelReconnect(): void {
    this.reconnectTimer?.clear();
    this.reconnectTimer = undefined;
    this.reconnectAt = undefined;
  }

  private startAge(): void {
    const { maxConnectionAgeMs } = this.settings;
    if (maxConnectionAgeMs === undefined || this.ageTimer !== undefined) return;
    const { clock, random } = this.dependencies;
    this.ageTimer = clock.setTimer(
      () => {
        this.ageTimer = undefined;
        this.replace('age');
      },
      connectionAgeMs(maxConnectionAgeMs, random),
    );
  }

  private stopAge(): void {
    this.ageTimer?.clear();
    this.ageTimer = undefined;
  }

  /** Handles an event of `from`, which is the current wire, its replacement, or a retired one. */
  handle(from: Wire, event: ConnectionEvent): void {
    const { events } = this.dependencies;
    const isCurrent = from === this.current && !this.isClosed;
    // A replacement resolves the same name, so its lookups count even before it carries new calls.
    const isReplacement = from === this.replacement?.channel && !this.isClosed;
    switch (event.type) {
      case 'state':
        this.stateChanged(from, event.state, event.error);
        break;
      case 'connect-failed': {
        const { address } = event;
        const failure = this.diagnosis.explain(event.failure, address);
        const at = address === undefined ? {} : { address };
        if (events.wanted) events.emit({ type: 'connection', change: 'failed', ...at, cause: failure.message });
        // The failure of a further connection does not affect the state of the channel.
        if (event.isFurther) break;
        if (!isCurrent) break;
        this.failures += 1;
        this.diagnosis.attemptFailed(failure, address);
        if (this.isConnected && this.outage.isCalm) this.addresses.connectFailed(failure, address, from.histories);
        break;
      }
      case 'connected':
        this.openConnections += 1;
        this.addresses.connected(event.address);
        if (events.wanted) events.emit({ ...event, type: 'connection', change: 'connected' });
        break;
      case 'ended':
        this.connectionLost('ended', event.ended);
        if (isCurrent) this.connectionEnded(event.ended);
        break;
      case 'streams':
        if (isCurrent && this.isConnected) this.release.begin(this.outage.current !== undefined);
        break;
      case 'closed':
        this.connectionLost('closed', event.closed);
        break;
      case 'judged':
        if (isCurrent) this.connectionJudged(event.ended);
        break;
      case 'released':
        if (isCurrent) this.suspicion.ended(event.address);
        break;
      case 'call-timed-out':
        if (isCurrent) this.suspicion.timedOut(event.connection, event.waitedMs);
        break;
      case 'lookup-ended':
        if (isCurrent || isReplacement) this.addresses.lookupEnded(event.ok, event.isError);
        break;
      case 'addresses':
        if (isCurrent || isReplacement) this.addresses.use(event.addresses);
        break;
      case 'endpoint-watch':
        // Handled even while this channel closes, because the watch then reports the state 'stopped'.
        if (from === this.current || isReplacement) this.addresses.watchChanged(event.watch);
        break;
      case 'keepalive-throttled':
      case 'addresses-limited':
      case 'untested-version':
        if (events.wanted) events.emit(event);
    }
  }

  private connectionLost(change: 'ended' | 'closed', { address, livedMs, reason, protection }: ClosedConnection): void {
    this.openConnections -= 1;
    const { events } = this.dependencies;
    if (events.wanted)
      events.emit({ type: 'connection', change, address, livedMs, reason, ...(protection && { protection }) });
  }

  private connectionEnded({ address, livedMs, othersReady }: EndedConnection): void {
    this.suspicion.ended(address);
    if (othersReady) return;
    this.diagnosis.connectionEnded(`the connection to ${address} ended after ${(livedMs / 1000).toFixed(1)} s`);
  }

  private connectionJudged({ livedMs, answered, closedImmediately, othersReady }: EndedConnection): void {
    if (othersReady) return;
    this.lastClosedImmediately = closedImmediately;
    this.outage.connectionEnded(livedMs, answered, this.diagnosis.lastError);
  }

  private stateChanged(from: Wire, state: ConnectivityState, error: string | undefined): void {
    if (this.isClosed) return;
    if (from === this.current) this.currentStateChanged(state, error);
    else if (from !== this.replacement?.channel) return;
    else if (state === 'READY' && this.replacement.reason !== 'suspicion') this.takeOver();
    // Connects again: a replacement has no calls, so it becomes idle if it cannot connect within the idle timeout.
    else if (state === 'IDLE') this.connect();
  }

  private currentStateChanged(state: ConnectivityState, error?: string): void {
    // Ignores the child policy's summary after failed attempts to connect, because their errors are more precise. The stored summary is
    // also ignored when the policy reports it again, for example after a name lookup.
    if (error !== undefined && error !== this.summary) {
      if (this.failures > 0) this.summary = error;
      else this.diagnosis.channelFailed(error);
    }
    this.enter(state);
    if (state === 'READY') this.becameReady();
    else this.becameUnready(state);
  }

  private enter(state: ConnectivityState): void {
    if (state === this.state) return;
    const from = this.state;
    if (from === 'READY' || from === 'IDLE') this.unreachableSince = this.dependencies.clock.now();
    this.state = state;
    this.isConnected = state === 'READY';
    this.since = this.dependencies.clock.epoch();
    const cause = state === 'IDLE' || state === 'TRANSIENT_FAILURE' ? this.diagnosis.lastError : undefined;
    const transition = { from, to: state, ...(cause === undefined ? {} : { cause }) };
    this.history.push({ ...transition, at: moment(this.since) });
    if (this.history.length > MAX_HISTORY_LENGTH) this.history.shift();
    if (this.dependencies.events.wanted) this.dependencies.events.emit({ type: 'connectivity', ...transition });
    this.dependencies.changed();
  }

  private becameReady(): void {
    this.diagnosis.connected();
    this.failures = 0;
    this.cancelReconnect();
    if (this.replacement === undefined) this.startAge();
    // Called before the outage may end, so that calls that waited during the outage are released at a limited rate.
    this.release.begin(this.outage.current !== undefined);
    this.outage.becameReady();
  }

  private becameUnready(state: ConnectivityState): void {
    this.outage.becameUnready();
    this.suspicion.forget();
    this.stopAge();
    this.release.stop();
    // Refuses the calls that may no longer wait. While the channel was READY, they were not refused, even if a grace period ended or an
    // outage began.
    this.refuseInBatches((waiter) => !this.mayWaitOut(waiter));
    if (this.replacement !== undefined && state !== 'CONNECTING') {
      // The replacement is needed anyway (for example, for new credentials), and no working connection is left to keep.
      this.takeOver();
    } else if (state === 'TRANSIENT_FAILURE') {
      for (; this.failures > 0; this.failures -= 1) this.outage.attemptFailed(this.diagnosis.lastError);
      this.considerReconnect();
    } else if (state === 'IDLE' && this.needsConnection()) {
      this.connect();
    }
  }

  /**
   * True if the channel should connect. Also true during an outage without waiting calls, because callers that check the state before they
   * call would otherwise keep the outage from ending.
   */
  private needsConnection(): boolean {
    return this.waiting.size > 0 || this.outage.current !== undefined || this.settings.connection === 'warm';
  }

  // ── outage ──

  private outageChanged(change: OutageChange): void {
    if (change === 'began') this.refuseInBatches((waiter) => waiter.waitForReady === false);
    else if (change === 'grace-ended') this.refuseInBatches((waiter) => waiter.waitForReady === undefined);
    this.dependencies.changed();
  }

  /** Fails the refused waiters, one batch per event-loop turn, because thousands of errors at once would block the loop. */
  private refuseInBatches(isRefused: (waiter: Waiter) => boolean): void {
    if (this.isConnected || this.outage.current === undefined) return;
    const refused = this.waiting.takeWhere(isRefused, REFUSAL_BATCH_SIZE);
    if (refused.length === 0) return;
    const refusal = this.outageRefusal();
    this.outage.callsFailed(refused.length);
    this.dependencies.clock.defer(() => {
      for (const waiter of refused) waiter.refuse(refusal);
      this.refuseInBatches(isRefused);
    });
  }

  private outageRefusal(): WaitRefusal {
    const { clock } = this.dependencies;
    const { current } = this.outage;
    const next = this.nextAttemptAt();
    return outageRefusal({
      target: this.target,
      unreachableMs: current === undefined ? 0 : clock.now() - Math.min(current.startedAt, this.unreachableSince),
      cause: this.diagnosis.cause ?? 'the connection failed',
      connectAttempts: current?.connectAttempts ?? 0,
      flapping: current?.flapping ?? false,
      remedy: this.remedy,
      nextTryInMs: next === undefined ? undefined : Math.max(0, next - clock.epoch()),
    });
  }

  private nextAttemptAt(): number | undefined {
    return this.reconnectAt ?? this.current.nextAttemptAt();
  }

  // ── replacement ──

  /**
   * Applies `balancing`. If the policy, the DNS refresh interval, or the health check changed, a new channel (at most one per 10 s) carries
   * the new calls when it is READY; running calls finish on the old channel. A new maximum number of connections applies immediately.
   */
  balance(balancing: BalancingSettings): void {
    this.latestBalancing = balancing;
    if (this.balanceTimer === undefined) this.applyBalancing();
  }

  private applyBalancing(): void {
    this.balanceTimer = undefined;
    const { balancing, latestBalancing: latest } = this;
    const isBalanced =
      JSON.stringify(balancing.loadBalancing) === JSON.stringify(latest.loadBalancing) &&
      balancing.dnsRefreshMs === latest.dnsRefreshMs;
    const isChecked = balancing.healthService === latest.healthService;
    if (this.isClosed || (isBalanced && isChecked)) return;
    this.balancing = latest;
    if (!isChecked || JSON.stringify(this.ejectionOf(balancing)) !== JSON.stringify(this.ejectionOf(latest))) {
      // The previous channel keeps its own endpoints until its calls have ended.
      this.endpoints = this.createEndpoints();
    }
    this.balanceTimer = this.dependencies.clock.setTimer(() => {
      this.applyBalancing();
    }, MIN_BALANCING_INTERVAL_MS);
    this.replace(isBalanced ? 'health-check' : 'load-balancing');
  }

  private readonly maxConnectionsPerEndpoint = (): number => this.latestBalancing.maxConnectionsPerEndpoint;

  /** Ejection rules with these settings; `undefined` if endpoints are not ejected. */
  private ejectionOf({ loadBalancing }: BalancingSettings): EjectionPolicy | undefined {
    return this.settings.ejection ?? childPolicies(loadBalancing).ejection;
  }

  private createEndpoints(): Endpoints | undefined {
    const { clock, random, events } = this.dependencies;
    const ejection = this.ejectionOf(this.balancing);
    const { healthService } = this.balancing;
    if (ejection === undefined && healthService === undefined) return undefined;
    return new Endpoints(ejection, healthService, clock, random, events);
  }

  /** Drops a pending replacement, and creates another for `reason`. The new one takes over immediately if the channel is not READY. */
  private replace(reason: Replacement['reason']): void {
    this.dropReplacement();
    const channel = this.createWire();
    this.replacement = { channel, reason };
    if (this.isConnected) channel.connect();
    else this.takeOver();
  }

  /** Makes the pending replacement the channel for new calls, even if it is not READY. */
  private takeOver(): void {
    if (this.replacement === undefined) return;
    const { channel, reason } = this.replacement;
    const old = this.current;
    this.replacement = undefined;
    this.replaced += 1;
    this.current = channel;
    this.readBarrier = channel.readBarrier;
    const { events } = this.dependencies;
    // SuspicionWatch emits the event for each connection that it closes.
    if (reason !== 'suspicion' && events.wanted) events.emit({ type: 'connection-replaced', reason });
    old.retire();
    this.stopAge();
    this.stateChanged(channel, channel.state, undefined);
    // The failures of a pending replacement start no outage, so no early reconnect would end its backoff.
    if (channel.state === 'TRANSIENT_FAILURE') channel.endBackoff();
    this.suspicion.replaced();
  }

  private dropReplacement(): void {
    const { replacement } = this;
    this.replacement = undefined;
    replacement?.channel.close();
  }

  private handleReplacementRequest(request: ReplacementRequest): void {
    switch (request) {
      case 'create':
        if (this.replacement === undefined) this.replace('suspicion');
        else this.replacement.channel.connect();
        break;
      case 'close':
        if (this.replacement?.reason === 'suspicion') this.dropReplacement();
        break;
      case 'use':
        this.takeOver();
    }
  }

  /** Creates a wire. Simulations and tests override this method, because they have no sockets. */
  protected createWire(): Wire {
    const { clock, random } = this.dependencies;
    const { endpoints, maxConnectionsPerEndpoint } = this;
    const { credentials, ...others } = this.settings;
    const { loadBalancing, dnsRefreshMs, healthService: service } = this.balancing;
    const { healthMetadata: metadata = () => Promise.resolve(new Metadata()) } = this.dependencies;
    const wireSettings = {
      ...others,
      credentials: credentials.current,
      loadBalancing: childPolicies(loadBalancing).policies,
      dnsRefreshMs,
      connectTimeoutMs: this.nextConnectTimeoutMs.bind(this),
      endpoints,
      maxConnectionsPerEndpoint,
      ...(service !== undefined && { healthCheck: { service, metadata } }),
    };
    const isOwn = this.settings.transport === 'socket' && hasTransportNames();
    return new (isOwn ? SocketWire : GrpcJsWire)(wireSettings, this.handle.bind(this), clock, random);
  }

  private nextConnectTimeoutMs(timeouts: number): number {
    const { connectTimeoutMs: baseMs, outageGraceMs: graceMs } = this.settings;
    return connectTimeoutMs({ baseMs, timeouts, graceMs, insideGrace: this.outage.insideGrace });
  }

  /** Fails the waiting calls, stops connecting, and closes the channel. The client ends the calls in flight. */
  close(): void {
    if (this.isClosed) return;
    this.enter('SHUTDOWN');
    this.isClosed = true;
    this.unwatchCredentials();
    this.settings.credentials.close();
    this.release.stop();
    this.outage.close();
    this.cancelReconnect();
    this.stopAge();
    this.balanceTimer?.clear();
    for (const waiter of this.waiting.takeWhere(() => true, Infinity)) waiter.refuse(CLOSED);
    this.suspicion.forget();
    this.diagnosis.close();
    this.dropReplacement();
    this.current.close();
    this.current.endpoints?.close();
    this.endpoints?.close();
  }
}
