import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { CallTransport } from '../../call/call-transport.js';
import { EventHub } from '../../call/event-hub.js';
import { kindOf, type MethodDescriptor, type MethodKind } from '../../call/method.js';
import type { MethodContext } from '../../client/call-context.js';
import { CallRegistry } from '../../client/calls/call-registry.js';
import { MethodRuntime } from '../../client/method-context.js';
import { ReplayLimits } from '../../policy/replay/replay-ledger.js';
import { plainPolicy } from '../../client/settings/resolve-method-policies.js';
import { resolveSettings } from '../../client/settings/resolve-settings.js';
import { ClientStatistics } from '../../client/statistics/client-statistics.js';
import { UnreadStreams } from '../../client/calls/unread-streams.js';
import { LiveBudget } from '../../policy/throttling/default-budget.js';
import { systemClock } from '../../time/clock.js';
import { systemRandom } from '../../time/random.js';
import { FAKE_CLIENT } from './grpc-error.js';
import type { Metadata } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { GrpcCallOptions } from '../../client/resilient-types.js';

/** The context of a call, passed to a handler with the request. */
export interface FakeCall {
  /** The metadata argument merged with the metadata of the call options. */
  readonly metadata: Metadata;
  /** The call options as passed by the caller. */
  readonly options: GrpcCallOptions;
  /** Deadline in milliseconds since 1970; `Infinity` if there is none. */
  readonly deadline: number;
  /** Aborted when the caller cancels, or when a timeout of the call expires. */
  readonly signal: AbortSignal;
}

/** The state of a call: 'open', 'answered' by the handler with a response or an error, or 'cancelled' by the caller or a timeout. */
export type FakeCallOutcome = 'open' | 'answered' | 'cancelled';

/** The record of a call to a fake service. */
export interface FakeCallRecord<Name = string, Request = unknown> {
  /** The name of the handler, or the name used by the caller if the method has no handler. */
  readonly method: Name;
  /** The request; for a request stream, the messages received so far, in order. */
  readonly request: Request;
  readonly metadata: Metadata;
  readonly options: GrpcCallOptions;
  readonly outcome: FakeCallOutcome;
}

type MethodName<S> = {
  [K in keyof S]: S[K] extends (...args: never) => Observable<unknown> | Promise<unknown> ? K : never;
}[keyof S];

/** The records of calls to `S`. Checking `method` narrows the type of `request`. */
export type FakeCallRecords<S> = {
  [K in MethodName<S>]: S[K] extends (request: infer Q, ...rest: infer _) => Observable<unknown> | Promise<unknown>
    ? FakeCallRecord<K, Q extends Observable<infer M> ? readonly M[] : Q>
    : never;
}[MethodName<S>];

/** The return value of a handler: a message, a promise of one, or a stream of messages. An array is a stream of its elements. */
type FakeResponse<R> = R | Promise<R> | Observable<R> | AsyncIterable<R> | Iterable<R>;

/** The handlers of a fake service, by the method names of `S`. */
export type FakeHandlers<S> = {
  readonly [K in MethodName<S>]?: S[K] extends (
    request: infer Q,
    ...rest: infer _
  ) => Observable<infer R> | Promise<infer R>
    ? (request: Q extends Observable<infer M> ? AsyncIterable<M> : Q, call: FakeCall) => FakeResponse<R>
    : never;
};

export type AnyHandler = (request: unknown, call: FakeCall) => unknown;

/** Its kind is derived from the request that the caller passes and, after the handler has run, from the return value of the handler. */
export class FakeMethod implements MethodDescriptor {
  readonly service = FAKE_CLIENT;
  readonly path: string;
  readonly declaredIdempotent = false;
  /**
   * True if the handler returned a single message, or an Observable that completed before its only message was delivered, such as
   * `of(message)`. The status arrives with the message, so unsubscribing after the message does not cancel the call.
   */
  answersOnce = false;

  constructor(
    readonly method: string,
    readonly requestStream: boolean,
  ) {
    this.path = `/${FAKE_CLIENT}/${method}`;
  }

  get responseStream(): boolean {
    return !this.answersOnce;
  }

  get kind(): MethodKind {
    return kindOf(this);
  }

  /** Returns no bytes. Messages are not serialized; the result only determines the size of buffered requests. */
  requestSerialize(): Buffer {
    return Buffer.alloc(0);
  }

  responseDeserialize(bytes: Buffer): unknown {
    return bytes;
  }
}

/** Creates the contexts through which client code calls fake methods, without a service definition or channel. */
export function fakeContexts(
  start: (method: FakeMethod, request: AttemptRequest, listener: AttemptListener) => Attempt,
): (method: FakeMethod) => MethodContext {
  const clock = systemClock;
  const random = systemRandom;
  const resolution = resolveSettings(
    {
      name: FAKE_CLIENT,
      path: FAKE_CLIENT,
      services: new Map(),
      settings: { url: FAKE_CLIENT },
      defaults: undefined,
    },
    { clock, random, report: () => undefined },
  );
  if (!resolution.ok) throw new Error(`fakeGrpcService: ${JSON.stringify(resolution.problems)}`);
  const runtime = new MethodRuntime(resolution.settings, {
    name: FAKE_CLIENT,
    // Safe cast: the contexts returned below contain only fake methods.
    transport: alwaysReady((request, listener) => start(request.method as FakeMethod, request, listener)),
    budget: new LiveBudget(undefined),
    registry: new CallRegistry(clock),
    unread: new UnreadStreams(Infinity, clock),
    statistics: new ClientStatistics(clock),
    replayLimits: new ReplayLimits(resolution.settings.replayBytes.perCall, resolution.settings.replayBytes.perClient),
    trustRefusedStreams: false,
    events: new EventHub({ client: FAKE_CLIENT }, () => clock.epoch()),
    clock,
    random,
  });
  // With an empty interceptor list instead of `undefined`, messages are not serialized, and the call itself enforces its deadline.
  // Calls may have keys, but go to no server.
  return (method) => {
    const context = runtime.contextOf(method, plainPolicy(method));
    return { ...context, policy: { ...context.policy, once: true }, once: undefined, interceptors: [] };
  };
}

function alwaysReady(start: CallTransport['start']): CallTransport {
  const nothing = (): undefined => undefined;
  return {
    target: FAKE_CLIENT,
    ready: true,
    isConnected: true,
    // There is no peer whose data could be pending.
    readBarrier: { isDue: false, whenRead: nothing },
    start,
    // A ready channel queues calls whose rate it limits, such as those that lost their connection or resume a stream. A fake has no
    // connections, so it releases calls in the next turn.
    wait: (waiter) => {
      systemClock.defer(() => {
        waiter.release();
      });
    },
    dequeue: nothing,
    answered: nothing,
    releasedCallEnded: nothing,
    whyNotReady: () => '',
    remedy: undefined,
    doctorCommand: undefined,
  };
}
