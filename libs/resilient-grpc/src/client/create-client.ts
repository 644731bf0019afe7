import { askingMethod, askOutcome, methodNamed, type OnceOutcome, type OutcomeOptions } from './once/ask-outcome.js';
import { inspect } from 'node:util';
import type { Channel, Metadata } from '@grpc/grpc-js';
import { BehaviorSubject, Observable, ReplaySubject, takeUntil } from 'rxjs';
import type { DrainReport, GrpcClientEvent } from '../call/call-event.js';
import type { Connectivity, ConnectivityTransition } from '../call/connectivity.js';
import type { ClientFigures, ClientTelemetry } from '../call/call-telemetry.js';
import { EventHub, type EventListener } from '../call/event-hub.js';
import { maskAddress } from '../errors/error-message.js';
import type { FailureReason } from '../errors/grpc-call-error.js';
import type { MethodDescriptor, Transport } from '../call/method.js';
import { callbackClient } from '../channel/callback-client.js';
import { NO_METADATA } from '../channel/wire/call-metadata.js';
import { isSecure } from '../channel/channel-checks.js';
import { ManagedChannel } from '../channel/managed-channel.js';
import { LiveBudget } from '../policy/throttling/default-budget.js';
import { moment, systemClock, type Clock } from '../time/clock.js';
import { DEFAULT_CLIENT_SETTINGS } from './settings/client-options.js';
import { systemRandom, type Random } from '../time/random.js';
import type { ClientContext } from './call-context.js';
import { keepTraces } from './caller/caller-context.js';
import { CallRegistry, type DrainLimit } from './calls/call-registry.js';
import { silenceOf, UnansweredCalls } from './calls/unanswered-calls.js';
import { MethodRuntime } from './method-context.js';
import type { BudgetSnapshot, GrpcClientSnapshot, RecentCalls, Serialized, ActiveCall } from './client-snapshot.js';
import { prepareAttempt } from './interceptors/call-hooks.js';
import { markClosed, markOpen, reportCutOff, type OpenClient } from './open-clients.js';
import { ReplayLimits } from '../policy/replay/replay-ledger.js';
import type { ResilientGrpcClient } from './resilient-grpc-client.js';
import type { Resilient, ResilientMethod } from './resilient-types.js';
import { HEALTH_SERVICE } from './health-contract.js';
import { UnreadStreams } from './calls/unread-streams.js';
import { waitForReady, type ReadyOptions } from './wait-for-ready.js';
import { methodStub, serviceStub, type StubbedMethod } from './service-stub.js';
import { AwaitedCalls } from './awaited-calls.js';
import { clientChannel } from './client-channel.js';
import { findService, type Services } from './settings/contract.js';
import { plainPolicy } from './settings/resolve-method-policies.js';
import type { ResolvedClientSettings } from './settings/resolved-settings.js';
import { ClientStatistics } from './statistics/client-statistics.js';
import { checkedSerializer, type MessageChecks } from '../messages/checked-serializer.js';

/** Dependencies of a client. Tests replace the clock and the random source. */
export interface ClientDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Receives every event from creation on, except the start and end of each call. */
  readonly onEvent?: EventListener;
}

const MAX_LISTED_STREAMS = 100;
const HEALTH_WATCH = {
  service: HEALTH_SERVICE,
  method: 'Watch',
  path: `/${HEALTH_SERVICE}/Watch`,
  kind: 'server-stream',
} as const;
const DEFAULT_DRAIN_TIMEOUT_MS = 8_000;
const EMPTY_REPORT: DrainReport = {
  finished: 0,
  failed: 0,
  completed: 0,
  ended: 0,
  cancelled: 0,
  cutOffByPath: {},
  durationMs: 0,
};

/** A client as other parts of the library use it: lifecycle, telemetry, and services outside its contract. */
export type InternalGrpcClient = Pick<GrpcClient, keyof GrpcClient>;

/** Creates a client from complete settings. The creator must close it. */
export function createResilientGrpcClient(
  settings: ResolvedClientSettings,
  dependencies: ClientDependencies = { clock: systemClock, random: systemRandom },
): InternalGrpcClient {
  return new GrpcClient(settings, dependencies);
}

class GrpcClient implements ResilientGrpcClient {
  readonly name: string;
  readonly target: string;
  readonly connectivity$: Observable<Connectivity>;
  readonly events$: Observable<GrpcClientEvent>;
  readonly channel: Channel;

  private readonly managed: ManagedChannel;
  private readonly context: ClientContext;
  private readonly runtime: MethodRuntime;
  private readonly hub: EventHub;
  readonly registry: CallRegistry;
  private readonly outside: CallRegistry;
  private readonly statistics: ClientStatistics;
  private readonly budget: LiveBudget;
  private readonly states: BehaviorSubject<Connectivity>;
  /** Emits when the client closes; subscribers that are added later also receive the emission. */
  private readonly whenClosed = new ReplaySubject<void>(1);
  private readonly stubs = new Map<string, object>();
  /** Milliseconds since 1970. */
  private readonly createdAt: number;
  private drained: DrainReport | undefined;
  private closing: Promise<void> | undefined;
  private stopKeepingTraces: (() => void) | undefined;
  private stopTelemetryEvents: (() => void) | undefined;
  private readonly services: Services;
  /** Reports calls that are awaited but not subscribed to; `undefined` in production. */
  private readonly awaitedCalls: AwaitedCalls | undefined;
  private readonly mark: WeakRef<OpenClient>;

  constructor(
    private readonly settings: ResolvedClientSettings,
    private readonly dependencies: ClientDependencies,
  ) {
    const { clock, random } = dependencies;
    this.name = settings.name;
    this.createdAt = clock.epoch();
    this.registry = new CallRegistry(clock);
    this.outside = new CallRegistry(clock);
    this.statistics = new ClientStatistics(clock);
    this.target = settings.target;
    this.hub = new EventHub({ client: settings.name }, () => clock.epoch());
    if (dependencies.onEvent !== undefined) this.hub.listen(dependencies.onEvent, false);
    const changed = (): void => {
      // Absent, contrary to its type, during the construction of a warm channel.
      (this.states as BehaviorSubject<Connectivity> | undefined)?.next(this.managed.connectivity);
    };
    const healthMetadata = (): Promise<Metadata> => this.healthMetadata();
    this.managed = new ManagedChannel(settings.channel, { clock, random, events: this.hub, changed, healthMetadata });
    this.registry.unanswered = new UnansweredCalls(
      this.registry,
      (peer, since, countFrom) => this.managed.current.silenceRemedy(peer, since, countFrom),
      this.hub,
      clock,
    );
    this.registry.onCutOff = (calls) => {
      reportCutOff(settings.name, calls);
    };
    this.states = new BehaviorSubject(this.managed.connectivity);
    this.connectivity$ = this.states.asObservable();
    this.events$ = new Observable<GrpcClientEvent>((subscriber) =>
      this.hub.listen((event) => {
        subscriber.next(event);
      }, true),
    ).pipe(takeUntil(this.whenClosed));
    const { live } = settings;
    this.budget = new LiveBudget(live?.config?.retryThrottling ?? settings.retryThrottling);
    if (live !== undefined)
      live.onChange = (config) => {
        this.budget.change(config.retryThrottling, clock.now());
        this.managed.balance(live.balancing);
      };
    this.context = {
      name: settings.name,
      transport: this.managed,
      budget: this.budget,
      registry: this.registry,
      statistics: this.statistics,
      unread: new UnreadStreams(DEFAULT_CLIENT_SETTINGS.unreadStreamWarningMs, clock),
      replayLimits: new ReplayLimits(settings.replayBytes.perCall, settings.replayBytes.perClient),
      trustRefusedStreams: settings.trustRefusedStreams,
      events: this.hub,
      telemetry: undefined,
      clock,
      random,
    };
    this.runtime = new MethodRuntime(settings, this.context);
    this.services = withCheckedRequests(settings.services, {
      events: this.hub,
      rejects: settings.rejectInvalidMessages,
    });
    const { managed, services, runtime } = this;
    this.channel = clientChannel({ managed, services, settings, runtime, target: () => this.canonicalTarget });
    if (process.env['NODE_ENV'] !== 'production') this.awaitedCalls = new AwaitedCalls(clock, this.hub);
    this.mark = markOpen(this);
  }

  get connectivity(): Connectivity {
    const { managed: channel, registry } = this;
    const silentMs = (peer: string, startedAt: number): number | undefined => channel.silentMs(peer, startedAt);
    return { ...channel.connectivity, ...silenceOf(registry, silentMs, this.dependencies.clock) };
  }

  /** Returns a form that is safe to log. It omits the settings, because they contain credentials and metadata. */
  toJSON(): object {
    return { name: this.name, target: this.target, state: this.managed.connectivity.state };
  }

  [inspect.custom](): string {
    return `GrpcClient ${inspect(this.toJSON())}`;
  }

  /** `target` with its scheme: 'dns:///orders:50051'. */
  get canonicalTarget(): string {
    return maskAddress(canonicalTarget(this.settings.channel.target, this.managed.current.channel));
  }

  get doctorCommand(): string | undefined {
    return this.managed.doctorCommand;
  }

  get transport(): Transport {
    return this.managed.current.transport;
  }

  get isSecure(): boolean {
    return isSecure(this.settings.channel.credentials.current);
  }

  setTelemetry(telemetry: ClientTelemetry): void {
    if (this.managed.isClosed) {
      telemetry.close();
      return;
    }
    const { contexts } = telemetry;
    if (contexts !== undefined) this.stopKeepingTraces ??= keepTraces(contexts);
    this.context.telemetry = telemetry;
    this.stopTelemetryEvents?.();
    this.stopTelemetryEvents = this.hub.listen((event) => {
      telemetry.take(event);
    }, false);
  }

  /** Returns the values for metrics. Costs less than a snapshot, because it describes neither methods nor streams. */
  figures(): ClientFigures {
    const { managed: channel, registry, runtime } = this;
    const now = this.dependencies.clock.now();
    const outage = channel.isClosed ? undefined : channel.outage.current;
    return {
      openConnections: channel.openConnections,
      outageMs: outage && now - outage.startedAt,
      waiting: channel.waiting.calls,
      oldestWaitMs: channel.waiting.oldestMs(now),
      retryBudget: this.retryBudget,
      addresses: channel.isClosed ? 0 : channel.addresses.count,
      watch: channel.watchFigures,
      oldestStreamMs: registry.oldestStreamMs,
      adaptiveLimits: runtime.limits.filter(({ adaptive }) => adaptive !== undefined),
      hedgingDelays: runtime.hedgingDelays,
    };
  }

  get history(): readonly ConnectivityTransition[] {
    return [...this.managed.history];
  }

  get accepting(): boolean {
    return this.registry.accepting === 'yes';
  }

  getService<T extends object>(service: string): Resilient<T> & T {
    const name = findService(this.services, service, this.name);
    const stub = this.stubs.get(name) ?? serviceStub(this.methodsOf(name), this.awaitedCalls);
    this.stubs.set(name, stub);
    // Returns a copy, so that a caller that replaces a method does not affect other callers. The cast is not checked: the caller must
    // provide an interface that matches the service definition.
    return { ...stub } as unknown as Resilient<T> & T;
  }

  getClientByServiceName<T = unknown>(service: string): T {
    const name = findService(this.services, service, this.name);
    // As in `getService`, the cast is not checked: the caller must provide an interface that matches the service definition. The returned
    // client has the members that grpc-js generates for the service definition.
    return callbackClient(name, this.services.get(name), this.channel, this.settings.interceptors) as T;
  }

  /**
   * Health of the client's endpoints, by address; `undefined` if no endpoint is checked: without `healthCheckConfig`, with pick_first, or
   * before the channel has endpoints.
   */
  get endpointHealth(): ManagedChannel['endpointHealth'] {
    const { endpointHealth } = this.managed;
    return endpointHealth?.endpoints.size === 0 ? undefined : endpointHealth;
  }

  /** Maximum time in milliseconds that calls wait during an outage if `waitForReady` does not override it. */
  get outageGraceMs(): number {
    return this.settings.channel.outageGraceMs;
  }

  get isGraceOver(): boolean {
    const { outage } = this.managed;
    return outage.current !== undefined && !outage.insideGrace;
  }

  /** Time in milliseconds since the channel lost its connection or began to connect; meaningful while the channel is CONNECTING. */
  get unreachableMs(): number {
    return this.dependencies.clock.now() - this.managed.unreachableSince;
  }

  /** Returns the counts of recently ended calls, except calls of methods outside the contract. */
  recentCalls(): RecentCalls {
    return this.statistics.recentCalls();
  }

  /**
   * Returns a stub for a method outside the contract. The state of the client, such as its telemetry, is copied when the stub is created.
   * Calls of the stub have no policy of their own and no concurrency limits. They are not part of the client's statistics and events, which
   * describe the application's calls, and a drain does not wait for them.
   */
  stubOf(method: MethodDescriptor): ResilientMethod<unknown, unknown> {
    const { outside: registry, settings } = this;
    const { clock } = this.dependencies;
    // This hub has no listener: a failed health check must not appear in the log or in metrics as a call with a possible side effect.
    const events = new EventHub({ client: settings.name }, () => clock.epoch());
    const client = { ...this.context, registry, events, statistics: new ClientStatistics(clock) };
    const runtime = new MethodRuntime({ ...settings, maxConcurrentCalls: undefined }, client);
    const context = runtime.contextOf(method, plainPolicy(method));
    return methodStub(method, () => context);
  }

  private async healthMetadata(): Promise<Metadata> {
    const { metadata = NO_METADATA, metadataSource } = this.settings;
    const call = { ...HEALTH_WATCH, client: this.name, metadata };
    const prepared = prepareAttempt(call, 1, Infinity, { hooks: undefined, metadataSource });
    return 'waitsFor' in prepared ? await prepared.metadata : prepared;
  }

  async waitForReady(options: ReadyOptions = {}): Promise<void> {
    if (this.registry.accepting === 'closed') throw new Error(`The client '${this.name}' was closed`);
    await waitForReady(this.managed, options, this.dependencies.clock);
  }

  get waitingCalls(): number {
    return this.managed.waiting.calls;
  }

  get awaitsReady(): boolean {
    const { calls, size } = this.managed.waiting;
    return size > calls;
  }

  /** Returns the number of calls that failed for `reason`, including rejected ones. */
  failedBy(reason: FailureReason): number {
    return this.statistics.failedBy(reason);
  }

  outcome<Response>(method: string, key: string, options: OutcomeOptions = {}): Promise<OnceOutcome<Response>> {
    const asked = askingMethod(methodNamed(this.services, method, this.name));
    return askOutcome(this.stubOf(asked), key, options);
  }

  activeCalls(): readonly ActiveCall[] {
    return this.registry.list();
  }

  snapshot(): GrpcClientSnapshot {
    const { name, target, managed: channel, registry, runtime, drained, doctorCommand } = this;
    const { clock } = this.dependencies;
    const { started, succeeded, failed, cancelled, resumed, accepting } = registry;
    const { attempts, retried, hedged, ...counted } = this.statistics.snapshot();
    const { replaced, ...described } = channel.describe();
    const streams = registry.list().filter(({ kind }) => kind !== 'unary');
    const drain: GrpcClientSnapshot['drain'] =
      drained === undefined
        ? { state: accepting === 'yes' ? 'none' : accepting }
        : { state: 'drained', report: drained };
    return {
      version: 1,
      at: moment(clock.epoch()).toISOString(),
      createdAt: moment(this.createdAt).toISOString(),
      name,
      target,
      ...(doctorCommand !== undefined && { doctorCommand }),
      connectivity: asJson(this.connectivity),
      history: asJson(channel.history),
      ...described,
      ...counted,
      active: registry.size,
      counters: { started, succeeded, failed, cancelled, attempts, retried, hedged, resumed, replaced },
      retryBudget: this.retryBudget,
      hedgeBudget: runtime.hedgeBudget,
      circuits: runtime.circuits,
      hedgingDelays: runtime.hedgingDelays,
      limits: runtime.limits,
      // The registry lists calls in the order in which they started.
      streams: { total: streams.length, oldest: asJson(streams.slice(0, MAX_LISTED_STREAMS)) },
      drain,
    };
  }

  private get retryBudget(): BudgetSnapshot {
    const { current, maxTokens } = this.budget;
    const tokens = current.tokens(this.dependencies.clock.now());
    return { tokens, maxTokens, allows: current.suffices(tokens) };
  }

  /** @param limit the limit to name in the errors of cut-off calls; present if the drain is part of the application's shutdown */
  async drain(options: { readonly timeoutMs?: number | undefined } = {}, limit?: DrainLimit): Promise<DrainReport> {
    const running = this.registry.size;
    const first = this.registry.accepting === 'yes';
    const draining = this.registry.drain(options.timeoutMs ?? DEFAULT_DRAIN_TIMEOUT_MS, limit);
    if (first && this.hub.wanted) {
      this.hub.emit({ type: 'drain', phase: 'begin', running, ...EMPTY_REPORT });
    }
    const report = await draining;
    this.drained = report;
    if (first && this.hub.wanted) this.hub.emit({ type: 'drain', phase: 'end', running: 0, ...report });
    await this.close();
    return report;
  }

  /**
   * Ends response streams whose `onDrain` is 'complete' (the default for resumable streams), and calls of any kind whose `onDrain` is
   * 'fail'. Such streams and calls no longer start, and no stream resumes. Other calls continue, and new ones may start.
   */
  endStreams(): Promise<void> {
    return this.registry.endStreams();
  }

  /** Records that the application is shutting down. The drain report includes the calls that finish from now on. */
  noteShutdown(): void {
    this.registry.noteShutdown();
  }

  close(): Promise<void> {
    this.closing ??= this.closeOnce();
    return this.closing;
  }

  private async closeOnce(): Promise<void> {
    this.awaitedCalls?.close();
    this.registry.close();
    this.outside.close();
    // A call that grpc-js has just started is cancelled a second time in the next turn of the event loop. Until then, the channel must be
    // open.
    await new Promise<void>((resolve) => {
      this.dependencies.clock.defer(resolve);
    });
    this.managed.close();
    this.settings.live?.close();
    this.context.telemetry?.close();
    this.stopKeepingTraces?.();
    markClosed(this.mark);
    this.states.complete();
    this.whenClosed.next();
  }

  private *methodsOf(service: string): Generator<StubbedMethod> {
    const { policies } = this.settings;
    for (const method of this.services.get(service)?.values() ?? []) {
      const fixed = policies.get(method.path);
      if (fixed === undefined) continue;
      yield { method, contextOf: this.runtime.contextsOf(method, fixed) };
    }
  }
}

function asJson<T>(value: T): Serialized<T> {
  // The type describes the value after JSON serialization.
  return JSON.parse(JSON.stringify(value)) as Serialized<T>;
}

/** Returns a copy of `services` whose methods check their requests. */
function withCheckedRequests(services: Services, checks: MessageChecks): Services {
  const copies = [...services].map(([service, methods]) => {
    const checked = [...methods].map(([name, method]) => {
      const requestSerialize = checkedSerializer(method, method.requestSerialize, 'request', checks);
      return [name, { ...method, requestSerialize }] as const;
    });
    return [service, new Map(checked)] as const;
  });
  return new Map(copies);
}

/**
 * Returns the target of `channel` with its scheme, which grpc-js adds if it is missing: 'dns:///orders:50051' for 'orders:50051'
 * (https://github.com/grpc/proposal/blob/master/A66-otel-stats.md#attributes).
 */
export function canonicalTarget(target: string, channel: Pick<Channel, 'getTarget'>): string {
  const parsed = channel.getTarget();
  return parsed === target ? target : parsed.replace(/^([^:]+):/, '$1:///');
}
