import type { StartAttempt } from '../call/attempt.js';
import type { MethodDescriptor } from '../call/method.js';
import { NO_METADATA } from '../channel/wire/call-metadata.js';
import { CircuitBreakerCore } from '../policy/circuit-breaker/circuit-breaker.js';
import { PermitQueue, type LimitChange } from '../policy/concurrency/permit-queue.js';
import { HedgeBudget } from '../policy/hedging/decide-hedge.js';
import { defined } from '../policy/options/describe-value.js';
import type { HedgingPolicy } from '../policy/retry/retry-policy.js';
import { MeasuredDelay, type HedgingPercentile } from '../policy/hedging/measured-delay.js';
import { withAttemptTimeout, withStreamIdleTimeout, withCircuitBreaker } from './attempts/staged-attempt.js';
import type { ClientContext, Hedging, MethodContext } from './call-context.js';
import type { BudgetSnapshot, CircuitSnapshot, HedgingDelaySnapshot, LimitSnapshot } from './client-snapshot.js';
import { OnceMethod, OnceServers } from './once/once-method.js';
import type { ResolvedMethodPolicy } from './settings/resolve-method-policies.js';
import type { ResolvedClientSettings } from './settings/resolved-settings.js';

/** State that all methods of a client share, and state that a method keeps when its policy changes. */
export class MethodRuntime {
  private readonly clientLimit: PermitQueue | undefined;
  private readonly hedges = new HedgeBudget();
  private readonly breakers = new Map<string, { readonly policy: string; readonly breaker: CircuitBreakerCore }>();
  private readonly limitsByPath = new Map<string, PermitQueue>();
  private readonly delays = new Map<string, MeasuredDelay>();
  private readonly onceServers = new Map<string, OnceServers>();

  constructor(
    private readonly settings: ResolvedClientSettings,
    private readonly client: ClientContext,
  ) {
    const { maxConcurrentCalls } = settings;
    this.clientLimit =
      maxConcurrentCalls === undefined ? undefined : new PermitQueue(maxConcurrentCalls, this.reportLimit(undefined));
  }

  /** Returns a function that provides the context for a new call. */
  contextsOf(method: MethodDescriptor, fixed: ResolvedMethodPolicy): () => MethodContext {
    const { live } = this.settings;
    let context = this.contextOf(method, live?.policyOf(method.path) ?? fixed);
    if (live === undefined) return () => context;
    return () => {
      const policy = live.policyOf(method.path) ?? fixed;
      if (policy !== context.policy) context = this.contextOf(method, policy);
      return context;
    };
  }

  /** Returns the context of a method, with the attempt stages and limits that `policy` and the client's settings configure. */
  contextOf(method: MethodDescriptor, policy: ResolvedMethodPolicy): MethodContext {
    const { settings, client } = this;
    const { hooks, metadataSource } = settings;
    const statistics = client.statistics.of(method);
    const start = this.stagesOf(method, policy, policy.streamIdleTimeoutMs);
    const hedging =
      policy.hedging === undefined || method.requestStream
        ? undefined
        : { ...this.delayOf(method, policy.hedging, policy.hedgingDelay), budget: this.hedges, statistics };
    return {
      client,
      method,
      policy,
      statistics,
      metadata: settings.metadata ?? NO_METADATA,
      hasMetadata: settings.metadata !== undefined,
      interceptors: settings.interceptors.length === 0 ? undefined : settings.interceptors,
      maxSendBytes: Math.min(maxSendLength(settings), policy.maxRequestMessageBytes ?? Infinity),
      maxReceiveBytes: policy.maxResponseMessageBytes ?? Infinity,
      start,
      startWithin: (streamIdleTimeoutMs) => this.stagesOf(method, policy, streamIdleTimeoutMs),
      attemptInterceptors: hooks === undefined && metadataSource === undefined ? undefined : { hooks, metadataSource },
      propagation: settings.propagation,
      // A key makes no method safe to repeat.
      isSafeToRepeat:
        policy.once === undefined ? policy.retry !== undefined || hedging !== undefined : policy.safeToRepeat,
      once: this.onceOf(method, policy),
      hedging,
      limits: this.limitsOf(method, policy),
    };
  }

  get hedgeBudget(): BudgetSnapshot {
    const { tokens, maxTokens, allows } = this.hedges;
    return { tokens, maxTokens, allows };
  }

  /** Circuit breakers of the methods whose stubs have been created. */
  get circuits(): readonly CircuitSnapshot[] {
    return [...this.breakers].map(([path, { breaker }]) => ({ path, state: breaker.state }));
  }

  /** Hedging delays that follow latency, by method. Excludes methods that are not hedged under the current live service config. */
  get hedgingDelays(): readonly HedgingDelaySnapshot[] {
    const { live } = this.settings;
    return [...this.delays]
      .filter(([path]) => live === undefined || live.policyOf(path)?.hedging !== undefined)
      .map(([path, { percentile, currentMs }]) => ({
        path,
        percentile,
        ...(currentMs === Infinity ? {} : { delayMs: currentMs }),
      }));
  }

  get limits(): readonly LimitSnapshot[] {
    const methodLimits = [...this.limitsByPath].map(([path, limit]) => ({ path, ...describeLimit(limit) }));
    return this.clientLimit === undefined ? methodLimits : [...methodLimits, describeLimit(this.clientLimit)];
  }

  /** Composes the stages, outermost first: breaker, attempt timeout, stream idle timeout. */
  private stagesOf(
    method: MethodDescriptor,
    policy: ResolvedMethodPolicy,
    streamIdleTimeoutMs: number | undefined,
  ): StartAttempt {
    const { transport, clock } = this.client;
    const statistics = this.client.statistics.of(method);
    let start: StartAttempt = (request, listener) => {
      statistics.attempts += 1;
      const { telemetry } = request;
      if (telemetry?.within === undefined) return transport.start(request, listener);
      return telemetry.within(() => transport.start(request, listener));
    };
    if (streamIdleTimeoutMs !== undefined && method.responseStream) {
      start = withStreamIdleTimeout(start, streamIdleTimeoutMs, clock);
    }
    const { attemptTimeoutMs } = policy;
    if (attemptTimeoutMs !== undefined) start = withAttemptTimeout(start, attemptTimeoutMs, clock);
    const breaker = this.breakerOf(method, policy);
    return breaker === undefined ? start : withCircuitBreaker(start, breaker, clock);
  }

  private breakerOf(method: MethodDescriptor, policy: ResolvedMethodPolicy): CircuitBreakerCore | undefined {
    const { circuitBreaker } = policy;
    if (circuitBreaker === undefined) return undefined;
    const { events, random } = this.client;
    const known = this.breakers.get(method.path);
    const policyKey = JSON.stringify({ ...circuitBreaker, statusCodes: [...circuitBreaker.statusCodes] });
    if (known?.policy === policyKey) return known.breaker;
    const breaker = new CircuitBreakerCore(circuitBreaker, random, (transition) => {
      if (events.wanted) events.emit({ type: 'circuit', path: method.path, ...transition });
    });
    this.breakers.set(method.path, { policy: policyKey, breaker });
    return breaker;
  }

  private onceOf(method: MethodDescriptor, { once }: ResolvedMethodPolicy): OnceMethod | undefined {
    const { clock, events } = this.client;
    if (once === undefined || this.settings.channel.transport !== 'socket') return undefined;
    const servers = this.onceServers.get(method.path) ?? new OnceServers(method.path, clock, events);
    this.onceServers.set(method.path, servers);
    return new OnceMethod(method, once, servers);
  }

  private limitsOf(method: MethodDescriptor, policy: ResolvedMethodPolicy): readonly PermitQueue[] {
    const { clientLimit } = this;
    const isOnlyForUnary = clientLimit?.adaptive !== undefined;
    const shared = isOnlyForUnary && method.kind !== 'unary' ? undefined : clientLimit;
    return [this.limitOf(method, policy), shared].filter((limit) => limit !== undefined);
  }

  private limitOf(method: MethodDescriptor, policy: ResolvedMethodPolicy): PermitQueue | undefined {
    const { maxConcurrentCalls: limits } = policy;
    if (limits === undefined) return undefined;
    const { maxConcurrent, maxQueued } = limits;
    // An adaptive limit does not apply to streams. It follows latency, and the duration of a stream does not show the load of its server.
    if (maxConcurrent === 'adaptive' && method.kind !== 'unary') return undefined;
    const known = this.limitsByPath.get(method.path);
    if (known?.policy.maxConcurrent === maxConcurrent && known.policy.maxQueued === maxQueued) return known;
    const limit = new PermitQueue(limits, this.reportLimit(method.path));
    this.limitsByPath.set(method.path, limit);
    return limit;
  }

  private reportLimit(path: string | undefined): (change: LimitChange) => void {
    return (change) => {
      const { events } = this.client;
      if (events.wanted) events.emit({ type: 'concurrency-limit', path, ...change });
    };
  }

  /** Returns a hedging policy whose delay is fixed, or follows `percentile`. The measurement continues if the policy changes. */
  private delayOf(
    { path }: MethodDescriptor,
    policy: HedgingPolicy,
    percentile: HedgingPercentile | undefined,
  ): Pick<Hedging, 'policy' | 'delay'> {
    if (percentile === undefined) return { policy, delay: undefined };
    const delay = this.delays.get(path) ?? new MeasuredDelay(percentile);
    this.delays.set(path, delay);
    const { maxAttempts, nonFatalStatusCodes } = policy;
    const measured: HedgingPolicy = {
      maxAttempts,
      nonFatalStatusCodes,
      get hedgingDelayMs() {
        return delay.currentMs;
      },
    };
    return { policy: measured, delay };
  }
}

function describeLimit({ running, queued, maxConcurrent, adaptive }: PermitQueue): LimitSnapshot {
  if (adaptive === undefined) return { running, queued, maxConcurrent };
  const { latencyMs, unloadedLatencyMs } = adaptive;
  return { running, queued, maxConcurrent, adaptive: defined({ latencyMs, unloadedLatencyMs }) };
}

/** Returns grpc-js's limit on the bytes of a request message; `Infinity` if the limit is absent or negative. */
function maxSendLength(settings: ResolvedClientSettings): number {
  const limit: unknown = settings.channel.channelOptions['grpc.max_send_message_length'];
  return typeof limit === 'number' && limit >= 0 ? limit : Infinity;
}
