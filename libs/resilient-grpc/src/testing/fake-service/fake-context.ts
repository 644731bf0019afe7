import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { CallTransport } from '../../call/call-transport.js';
import { EventHub } from '../../call/event-hub.js';
import type { MethodDescriptor, MethodKind } from '../../call/method.js';
import type { MethodContext } from '../../client/call-context.js';
import { CallRegistry } from '../../client/call/call-registry.js';
import { MethodRuntime } from '../../client/method-context.js';
import { ReplayLimits } from '../../policy/replay/replay-ledger.js';
import { plainPolicy } from '../../client/settings/resolve-method-policies.js';
import { resolveSettings } from '../../client/settings/resolve-settings.js';
import { ClientStatistics } from '../../client/statistics/client-statistics.js';
import { UnreadStreams } from '../../client/streams/unread-streams.js';
import { LiveBudget } from '../../policy/throttling/default-budget.js';
import { systemClock } from '../../time/clock.js';
import { systemRandom } from '../../time/random.js';
import { FAKE_CLIENT } from './grpc-error.js';

/**
 * A method without a service definition, created per call. Its kind is derived from the request that the caller passes and, after the
 * handler has run, from the return value of the handler.
 */
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
    if (this.requestStream) return this.answersOnce ? 'client-stream' : 'bidi';
    return this.answersOnce ? 'unary' : 'server-stream';
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
    throttled: () => undefined,
    replayLimits: new ReplayLimits(resolution.settings.replayBytes.perCall, resolution.settings.replayBytes.perClient),
    trustRefusedStreams: false,
    events: new EventHub({ client: FAKE_CLIENT }, () => clock.epoch()),
    clock,
    random,
  });
  // With an empty interceptor list instead of `undefined`, messages are not serialized, and the call itself enforces its deadline.
  return (method) => ({ ...runtime.contextOf(method, plainPolicy(method)), interceptors: [] });
}

/** Creates a transport that is always ready and has no connections. */
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
