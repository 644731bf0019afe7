import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { CallTransport } from '../../call/call-transport.js';
import { EventHub } from '../../call/event-hub.js';
import type { MethodContext } from '../../client/call-context.js';
import { CallRegistry } from '../../client/call/call-registry.js';
import { MethodRuntime } from '../../client/method-context.js';
import { ReplayLimits } from '../../policy/replay/replay-limits.js';
import { plainPolicy } from '../../client/settings/resolve-method-policies.js';
import { resolveSettings } from '../../client/settings/resolve-settings.js';
import { ClientStatistics } from '../../client/statistics/client-statistics.js';
import { UnreadStreams } from '../../client/streams/unread-streams.js';
import { LiveBudget } from '../../policy/throttling/live-budget.js';
import { systemClock } from '../../time/clock.js';
import { systemRandom } from '../../time/random.js';
import type { FakeMethod } from './fake-method.js';
import { FAKE_CLIENT } from './grpc-error.js';

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
