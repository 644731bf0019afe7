import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { StartAttempt } from '../call/attempt.js';
import type { ClientTelemetry } from '../call/call-telemetry.js';
import type { CallTransport } from '../call/call-transport.js';
import type { EventHub } from '../call/event-hub.js';
import type { MethodDescriptor } from '../call/method.js';
import type { PermitQueue } from '../policy/concurrency/permit-queue.js';
import type { Propagation } from '../call/inbound-call.js';
import type { HedgeBudget } from '../policy/hedging/decide-hedge.js';
import type { HedgingPolicy } from '../policy/retry/retry-policy.js';
import type { MeasuredDelay } from '../policy/hedging/measured-delay.js';
import type { RetryBudget } from '../policy/throttling/default-budget.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import type { CallRegistry } from './calls/call-registry.js';
import type { AttemptInterceptors } from './interceptors/call-hooks.js';
import type { OnceMethod } from './once/once-method.js';
import type { ReplayLimits } from '../policy/replay/replay-ledger.js';
import type { UnreadStreams } from './calls/unread-streams.js';
import type { ResolvedMethodPolicy } from './settings/resolve-method-policies.js';
import type { ClientStatistics, MethodStatistics } from './statistics/client-statistics.js';

export interface ClientContext {
  readonly name: string;
  readonly transport: CallTransport;
  readonly budget: { readonly current: RetryBudget };
  readonly registry: CallRegistry;
  readonly unread: UnreadStreams;
  readonly statistics: ClientStatistics;
  readonly replayLimits: ReplayLimits;
  /** True if REFUSED_STREAM without a GOAWAY means that the server did not process the stream. */
  readonly trustRefusedStreams: boolean;
  readonly events: EventHub;
  /** Receives the telemetry of each call. `undefined` if nothing consumes it, so that no data is built. */
  telemetry?: ClientTelemetry | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Hedging {
  readonly policy: HedgingPolicy;
  /** Measures the latency of first attempts, which determines the delay; `undefined` if the delay is fixed. */
  readonly delay: MeasuredDelay | undefined;
  readonly budget: HedgeBudget;
  readonly statistics: MethodStatistics;
}

/** State shared by the calls of a method; created with the method's stub, and recreated when the method's policy changes. */
export interface MethodContext {
  readonly client: ClientContext;
  readonly method: MethodDescriptor;
  readonly policy: ResolvedMethodPolicy;
  readonly statistics: MethodStatistics;
  /** Metadata of the client, which is sent with every call. It is never modified. */
  readonly metadata: Metadata;
  readonly hasMetadata: boolean;
  readonly interceptors: readonly Interceptor[] | undefined;
  /** Maximum size of a request message in bytes; `Infinity` if there is no limit. */
  readonly maxSendBytes: number;
  /** Maximum size of a response message in bytes; `Infinity` if there is no limit. The channel's own limit also applies. */
  readonly maxReceiveBytes: number;
  readonly start: StartAttempt;
  /** Returns a variant of `start` for a call that overrides the method's timeouts. */
  readonly startWithin: (streamIdleTimeoutMs: number) => StartAttempt;
  /** True if calls may be executed more than once. The options of a call may override it. */
  readonly isSafeToRepeat: boolean;
  /** Gives calls their keys; `undefined` if they have none. */
  readonly once: OnceMethod | undefined;
  readonly hedging: Hedging | undefined;
  readonly attemptInterceptors: AttemptInterceptors | undefined;
  readonly propagation: Propagation | undefined;
  /**
   * Limits whose permits a call needs for its attempts. The limit of the method comes first, so that a call that is queued for a slow
   * method holds no permit of the client.
   */
  readonly limits: readonly PermitQueue[];
}
