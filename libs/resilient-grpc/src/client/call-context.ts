import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { StartAttempt } from '../call/attempt.js';
import type { ClientTelemetry } from '../call/call-telemetry.js';
import type { CallTransport } from '../call/call-transport.js';
import type { EventHub } from '../call/event-hub.js';
import type { MethodDescriptor } from '../call/method.js';
import type { PermitQueue } from '../policy/concurrency/permit-queue.js';
import type { Propagation } from '../call/propagation.js';
import type { HedgeBudget } from '../policy/hedging/hedge-budget.js';
import type { HedgingPolicy } from '../policy/hedging/hedging-policy.js';
import type { MeasuredDelay } from '../policy/hedging/measured-delay.js';
import type { RetryBudget } from '../policy/throttling/default-budget.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import type { CallRegistry } from './call/call-registry.js';
import type { AttemptInterceptors } from './interceptors/prepare-attempt.js';
import type { ReplayLimits } from '../policy/replay/replay-ledger.js';
import type { UnreadStreams } from './streams/unread-streams.js';
import type { ResolvedMethodPolicy } from './settings/resolved-settings.js';
import type { ClientStatistics } from './statistics/client-statistics.js';
import type { MethodStatistics } from './statistics/method-statistics.js';

/** State shared by all calls of a client. */
export interface ClientContext {
  readonly name: string;
  readonly transport: CallTransport;
  /** Retry budget, which a live service config may replace. */
  readonly budget: { readonly current: RetryBudget };
  readonly registry: CallRegistry;
  readonly unread: UnreadStreams;
  readonly statistics: ClientStatistics;
  /** Called when the budget rejects a retry. */
  readonly throttled: () => void;
  readonly replayLimits: ReplayLimits;
  /** True if REFUSED_STREAM without a GOAWAY means that the server did not process the stream. */
  readonly trustRefusedStreams: boolean;
  readonly events: EventHub;
  /** Receives the telemetry of each call. `undefined` if nothing consumes it, so that no data is built. */
  telemetry?: ClientTelemetry | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** State for hedging the calls of a method. */
export interface Hedging {
  /** Hedging policy, whose delay may change with each call. */
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
  /** True if the client's settings contain metadata. */
  readonly hasMetadata: boolean;
  readonly interceptors: readonly Interceptor[] | undefined;
  /** Maximum size of a request message in bytes; `Infinity` if there is no limit. */
  readonly maxSendBytes: number;
  /** Maximum size of a response message in bytes; `Infinity` if there is no limit. The channel's own limit also applies. */
  readonly maxReceiveBytes: number;
  /** Starts one attempt through the stages of this method. */
  readonly start: StartAttempt;
  /** Returns a variant of `start` for a call that overrides the method's timeouts. */
  readonly startWithin: (streamIdleTimeoutMs: number) => StartAttempt;
  /** True if calls may be executed more than once. The options of a call may override it. */
  readonly isSafeToRepeat: boolean;
  /** Present if the method's calls are hedged. */
  readonly hedging: Hedging | undefined;
  /** Interceptors and metadata function; `undefined` if there are none. */
  readonly attemptInterceptors: AttemptInterceptors | undefined;
  /** Settings for the data that the method's calls inherit from the inbound call; `undefined` if nothing is propagated. */
  readonly propagation: Propagation | undefined;
  /**
   * Limits whose permits a call needs for its attempts. The limit of the method comes first, so that a call that is queued for a slow
   * method holds no permit of the client.
   */
  readonly limits: readonly PermitQueue[];
}
