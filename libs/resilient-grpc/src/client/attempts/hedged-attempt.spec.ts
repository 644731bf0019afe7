import { expect, it } from 'vitest';
import type { StartAttempt } from '../../call/attempt.js';
import { EventHub } from '../../call/event-hub.js';
import type { MethodDescriptor } from '../../call/method.js';
import { CircuitOpenError } from '../../errors/circuit-open-error.js';
import { ReplayLimits } from '../../policy/replay/replay-limits.js';
import { DefaultBudget } from '../../policy/throttling/default-budget.js';
import { StatusCode } from '../../status/status-code.js';
import { seededRandom } from '../../testing/seeded-random.js';
import { ENDS, MemoryTransport } from '../../testing/spec-support/memory-transport.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { CallRegistry } from '../call/call-registry.js';
import { ClientCall } from '../call/client-call.js';
import { MethodRuntime } from '../method-context.js';
import type { ResolvedClientSettings, ResolvedMethodPolicy } from '../settings/resolved-settings.js';
import { ClientStatistics } from '../statistics/client-statistics.js';
import { UnreadStreams } from '../streams/unread-streams.js';

const METHOD: MethodDescriptor = {
  path: '/memory.Echo/Get',
  service: 'memory.Echo',
  method: 'Get',
  kind: 'unary',
  requestStream: false,
  responseStream: false,
  declaredIdempotent: true,
  requestSerialize: () => Buffer.alloc(1),
  responseDeserialize: () => 'answer',
};
const HEDGING = { maxAttempts: 3, hedgingDelayMs: 10, nonFatalStatusCodes: new Set([StatusCode.UNAVAILABLE]) };

it.each([
  ['circuit-open', new CircuitOpenError('/memory.Echo/Get', 5)],
  ['local', new Error('no token')],
])('sets notRetriedBecause to %s if another attempt cannot be started and the running one fails', (because, thrown) => {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  // Safe: only the settings of a pipeline are read. The in-memory transport replaces the channel.
  const settings = { name: 'memory', channel: { channelOptions: {} }, interceptors: [] };
  const runtime = new MethodRuntime(settings as unknown as ResolvedClientSettings, {
    name: 'memory',
    transport,
    budget: { current: new DefaultBudget() },
    registry: new CallRegistry(clock),
    unread: new UnreadStreams(Infinity, clock),
    statistics: new ClientStatistics(clock),
    replayLimits: new ReplayLimits(1_000, 1_000),
    trustRefusedStreams: false,
    events: new EventHub({ client: 'memory' }, () => clock.epoch()),
    clock,
    random: seededRandom(1),
    throttled: () => undefined,
  });
  const context = runtime.contextOf(METHOD, {
    safeToRepeat: true,
    safeBecause: 'test',
    hedging: HEDGING,
  } as Partial<ResolvedMethodPolicy> as ResolvedMethodPolicy);
  const start: StartAttempt = (request, listener) => {
    if (request.number > 1) throw thrown;
    return context.start(request, listener);
  };
  const input = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };
  const errors: unknown[] = [];
  const sink = { next: () => true, error: (error: unknown) => errors.push(error), complete: () => undefined };
  new ClientCall({ ...context, start }, input, sink).begin();
  clock.advance(100);
  expect(transport.attempts).toHaveLength(1);
  transport.attempts[0]!.end(ENDS.busy);
  expect(errors).toMatchObject([{ code: StatusCode.UNAVAILABLE, notRetriedBecause: because }]);
});
