import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { CallTransport } from '../call/call-transport.js';
import type { EventHub } from '../call/event-hub.js';
import type { MethodDescriptor } from '../call/method.js';
import type { RetryBudget } from '../policy/throttling/retry-budget.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import type { CallRegistry } from './call-registry.js';
import type { ResolvedMethodPolicy } from './settings/resolved-settings.js';

/** What all calls of a client share. */
export interface ClientContext {
  readonly name: string;
  readonly transport: CallTransport;
  readonly budget: RetryBudget;
  readonly registry: CallRegistry;
  readonly events: EventHub;
  readonly clock: Clock;
  readonly random: Random;
}

/** What all calls of a method share; made once, when its policy is resolved. */
export interface MethodContext {
  readonly client: ClientContext;
  readonly method: MethodDescriptor;
  readonly policy: ResolvedMethodPolicy;
  /** Joined to every call's; never changed. */
  readonly metadata: Metadata;
  /** Whether `metadata` holds anything. */
  readonly hasMetadata: boolean;
  readonly interceptors: readonly Interceptor[] | undefined;
  /** Largest request message, in bytes; Infinity: no limit. */
  readonly maxSendBytes: number;
}
