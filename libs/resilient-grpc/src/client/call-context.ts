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
import type { RetryBudget } from '../policy/throttling/retry-budget.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import type { CallRegistry } from './call/call-registry.js';
import type { AttemptParts } from './interceptors/prepare-attempt.js';
import type { ReplayLimits } from '../policy/replay/replay-limits.js';
import type { UnreadStreams } from './streams/unread-streams.js';
import type { ResolvedMethodPolicy } from './settings/resolved-settings.js';
import type { ClientStatistics } from './statistics/client-statistics.js';
import type { MethodStatistics } from './statistics/method-statistics.js';

/** What all calls of a client share. */
export interface ClientContext {
  readonly name: string;
  readonly transport: CallTransport;
  readonly budget: RetryBudget;
  readonly registry: CallRegistry;
  readonly unread: UnreadStreams;
  readonly statistics: ClientStatistics;
  /** A retry was refused by the budget. */
  readonly throttled: () => void;
  readonly replayLimits: ReplayLimits;
  /** REFUSED_STREAM without a GOAWAY is taken for a stream that the server did not process. */
  readonly trustRefusedStreams: boolean;
  readonly events: EventHub;
  /** Is told of each call; undefined: nobody is. */
  telemetry?: ClientTelemetry | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** What hedges a method's calls. */
export interface Hedging {
  readonly policy: HedgingPolicy;
  readonly budget: HedgeBudget;
  readonly statistics: MethodStatistics;
}

/** Lengths of one attempt, in milliseconds; undefined: none. */
export interface AttemptBounds {
  readonly attemptTimeoutMs?: number | undefined;
  readonly streamIdleTimeoutMs?: number | undefined;
}

/** What all calls of a method share; made once, when its policy is resolved. */
export interface MethodContext {
  readonly client: ClientContext;
  readonly method: MethodDescriptor;
  readonly policy: ResolvedMethodPolicy;
  readonly statistics: MethodStatistics;
  /** Joined to every call's; never changed. */
  readonly metadata: Metadata;
  /** Whether `metadata` holds anything. */
  readonly hasMetadata: boolean;
  readonly interceptors: readonly Interceptor[] | undefined;
  /** Largest request message, in bytes; Infinity: no limit. */
  readonly maxSendBytes: number;
  /** Largest response message, in bytes, beside the channel's own limit. */
  readonly maxReceiveBytes: number;
  /** Begins one attempt, through the stages that this method has. */
  readonly start: StartAttempt;
  /** The same with other bounds, for a call that names some. */
  readonly startWithin: (bounds: AttemptBounds) => StartAttempt;
  /** Present where its calls are hedged. */
  readonly hedging: Hedging | undefined;
  /** Interceptors and the function for metadata, where there are any. */
  readonly parts: AttemptParts | undefined;
  /** What of an inbound call its calls take over; undefined: nothing. */
  readonly propagation: Propagation | undefined;
  /** Permits a call needs for its attempts, the method's first: who queues for a slow method holds no permit of the client. */
  readonly limits: readonly PermitQueue[];
}
