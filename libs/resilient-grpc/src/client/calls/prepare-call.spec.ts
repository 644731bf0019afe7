import { expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import type { CapturedCall } from '../../call/inbound-call.js';
import type { MethodDescriptor } from '../../call/method.js';
import { DefaultBudget } from '../../policy/throttling/default-budget.js';
import { MemoryTransport } from '../../../../../test/unit-support/memory-transport.js';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { runInbound } from '../caller/caller-context.js';
import { MethodRuntime } from '../method-context.js';
import { ReplayLimits } from '../../policy/replay/replay-ledger.js';
import type { ResolvedMethodPolicy } from '../settings/resolve-method-policies.js';
import type { ResolvedClientSettings } from '../settings/resolved-settings.js';
import { ClientStatistics } from '../statistics/client-statistics.js';
import { UnreadStreams } from './unread-streams.js';
import { ClientCall } from './client-call.js';
import { CallRegistry } from './call-registry.js';

const METHOD: MethodDescriptor = {
  path: '/memory.Echo/Get',
  service: 'memory.Echo',
  method: 'Get',
  kind: 'unary',
  requestStream: false,
  responseStream: false,
  declaredIdempotent: false,
  requestSerialize: () => Buffer.alloc(1),
  responseDeserialize: () => 'answer',
};

/** Returns the milliseconds until the deadline that a call with these timeouts sends. */
function msUntilSentDeadline(timeouts: { inbound?: number; method?: number; call?: number }): number {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  // The cast is safe: the code under test requires no other settings. The in-memory transport replaces the channel.
  const settings = {
    name: 'memory',
    channel: { channelOptions: {} },
    interceptors: [],
    propagation: { deadline: true, cancellation: true, metadata: [] },
  } as unknown as ResolvedClientSettings;
  const runtime = new MethodRuntime(settings, {
    name: 'memory',
    transport,
    budget: { current: new DefaultBudget() },
    registry: new CallRegistry(clock),
    unread: new UnreadStreams(Infinity, clock),
    statistics: new ClientStatistics(clock),
    replayLimits: new ReplayLimits(1, 1),
    trustRefusedStreams: false,
    events: new EventHub({ client: 'memory' }, () => clock.epoch()),
    clock,
    random: seededRandom(1),
  });
  const policy = { safeToRepeat: false, safeBecause: 'test', timeoutMs: timeouts.method } as ResolvedMethodPolicy;
  const inbound: CapturedCall = {
    kind: 'grpc',
    signal: new AbortController().signal,
    retry: false,
    streaming: false,
    startedAt: 0,
    get: () => undefined,
    ...(timeouts.inbound === undefined ? {} : { deadline: new Date(clock.epoch() + timeouts.inbound) }),
  };
  const call = new ClientCall(
    runtime.contextOf(METHOD, policy),
    { request: 'x', given: { metadata: undefined, options: { timeoutMs: timeouts.call } }, createdIn: undefined },
    { next: () => true, error: () => undefined, complete: () => undefined },
  );
  runInbound(inbound, () => {
    call.begin();
  });
  const deadline = transport.attempts[0]?.request.deadline ?? NaN;
  call.unsubscribe();
  return deadline - clock.epoch();
}

it.each([
  ['inbound call', { inbound: 100, method: 200, call: 300 }],
  ['inbound call if no other deadline is set', { inbound: 100 }],
  ['method', { inbound: 300, method: 100 }],
  ['call', { inbound: 300, call: 100 }],
])('sends the earliest deadline, which is that of the %s', (_, timeouts) => {
  expect(msUntilSentDeadline(timeouts)).toBe(100);
});

it('sends no deadline if the call, its method, and the inbound call set none', () => {
  expect(msUntilSentDeadline({})).toBe(Infinity);
});
