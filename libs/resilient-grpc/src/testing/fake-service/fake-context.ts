import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { CallTransport } from '../../call/call-transport.js';
import { EventHub } from '../../call/event-hub.js';
import type { MethodContext } from '../../client/call-context.js';
import { CallRegistry } from '../../client/call/call-registry.js';
import { MethodParts } from '../../client/method-context.js';
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

/** Gives methods what they need to be called as those of a client are, without a contract and a channel. */
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
  const parts = new MethodParts(resolution.settings, {
    name: FAKE_CLIENT,
    // True: it is only given methods of fakes, below.
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
  // Under interceptors messages are handed on as they are, and the call itself keeps its deadline.
  return (method) => ({ ...parts.contextOf(method, plainPolicy(method)), interceptors: [] });
}

/** What carries calls that go nowhere. */
function alwaysReady(start: CallTransport['start']): CallTransport {
  const nothing = (): undefined => undefined;
  return {
    target: FAKE_CLIENT,
    ready: true,
    // Nobody who could have gone.
    hearing: { isDue: false, hearOut: nothing },
    start,
    // Who waits although it is ready comes back at a pace, after a connection was lost: here there is none to lose.
    wait: (waiter) => {
      systemClock.defer(() => {
        waiter.release();
      });
    },
    leave: nothing,
    answered: nothing,
    releasedEnded: nothing,
    whyNotReady: () => '',
  };
}
