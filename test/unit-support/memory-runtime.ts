import { EventHub } from '../../libs/resilient-grpc/src/call/event-hub.js';
import type { MethodDescriptor } from '../../libs/resilient-grpc/src/call/method.js';
import type { ClientContext } from '../../libs/resilient-grpc/src/client/call-context.js';
import { CallRegistry } from '../../libs/resilient-grpc/src/client/calls/call-registry.js';
import { MethodRuntime } from '../../libs/resilient-grpc/src/client/method-context.js';
import type { ResolvedClientSettings } from '../../libs/resilient-grpc/src/client/settings/resolved-settings.js';
import { ClientStatistics } from '../../libs/resilient-grpc/src/client/statistics/client-statistics.js';
import { UnreadStreams } from '../../libs/resilient-grpc/src/client/calls/unread-streams.js';
import { ReplayLimits } from '../../libs/resilient-grpc/src/policy/replay/replay-ledger.js';
import { DefaultBudget } from '../../libs/resilient-grpc/src/policy/throttling/default-budget.js';
import { seededRandom } from './seeded-random.mjs';
import type { MemoryTransport } from './memory-transport.js';

/** A unary method with 1-byte requests. */
export const MEMORY_METHOD: MethodDescriptor = {
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

/** Creates the runtime of a client on `transport`. The runtime uses the transport's clock. */
export function memoryRuntime(
  transport: MemoryTransport,
  client: Partial<ClientContext> = {},
  settings: Partial<ResolvedClientSettings> = {},
): MethodRuntime {
  const { clock } = transport;
  const pipeline = { name: 'memory', channel: { channelOptions: {} }, interceptors: [], ...settings };
  // Safe cast: `MethodRuntime` requires no other settings. The in-memory transport replaces the channel.
  return new MethodRuntime(pipeline as unknown as ResolvedClientSettings, {
    name: 'memory',
    transport,
    budget: { current: new DefaultBudget() },
    registry: new CallRegistry(clock),
    unread: new UnreadStreams(Infinity, clock),
    statistics: new ClientStatistics(clock),
    replayLimits: new ReplayLimits(1_000, 1_000_000),
    trustRefusedStreams: false,
    events: new EventHub({ client: 'memory' }, () => clock.epoch()),
    clock,
    random: seededRandom(1),
    ...client,
  });
}
