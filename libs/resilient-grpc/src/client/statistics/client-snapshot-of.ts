import type { ManagedChannel } from '../../channel/managed-channel.js';
import type { LiveBudget } from '../../policy/throttling/live-budget.js';
import { moment, type Clock } from '../../time/clock.js';
import type { CallRegistry } from '../call/call-registry.js';
import type { Serialized, GrpcClientSnapshot } from '../client-snapshot.js';
import type { MethodRuntime } from '../method-context.js';
import type { DrainReport } from '../drain-report.js';
import type { ResolvedClientSettings } from '../settings/resolved-settings.js';
import type { ClientStatistics } from './client-statistics.js';

/** Sources of a client's snapshot. */
export interface SnapshotParts {
  readonly settings: Pick<ResolvedClientSettings, 'name' | 'target'>;
  readonly channel: Pick<ManagedChannel, 'connectivity' | 'history' | 'describe'>;
  readonly registry: CallRegistry;
  readonly statistics: ClientStatistics;
  readonly parts: Pick<MethodRuntime, 'hedgeBudget' | 'circuits' | 'limits'>;
  readonly budget: Pick<LiveBudget, 'current' | 'maxTokens'>;
  readonly drained: DrainReport | undefined;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

const MAX_LISTED_STREAMS = 100;

export function clientSnapshot(
  { settings, channel, registry, statistics, parts, budget, drained, createdAt }: SnapshotParts,
  clock: Clock,
): GrpcClientSnapshot {
  const { started, succeeded, failed, cancelled, resumed } = registry;
  const { attempts, retried, hedged, ...counted } = statistics.snapshot();
  const { replaced, ...described } = channel.describe();
  return {
    version: 1,
    at: moment(clock.epoch()).toISOString(),
    createdAt: moment(createdAt).toISOString(),
    name: settings.name,
    target: settings.target,
    connectivity: asJson(channel.connectivity),
    history: asJson(channel.history),
    ...described,
    ...counted,
    active: registry.size,
    counters: { started, succeeded, failed, cancelled, attempts, retried, hedged, resumed, replaced },
    retryBudget: { tokens: budget.current.tokens(clock.now()), maxTokens: budget.maxTokens },
    hedgeBudget: parts.hedgeBudget,
    circuits: parts.circuits,
    limits: parts.limits,
    streams: streamsOf(registry),
    drain: { state: drainState(registry, drained), ...(drained === undefined ? {} : { report: drained }) },
  };
}

function streamsOf(registry: CallRegistry): GrpcClientSnapshot['streams'] {
  const streams = registry.list().filter(({ kind }) => kind !== 'unary');
  // The registry lists calls in the order in which they started.
  return { total: streams.length, oldest: asJson(streams.slice(0, MAX_LISTED_STREAMS)) };
}

function drainState(
  { accepting }: CallRegistry,
  drained: DrainReport | undefined,
): GrpcClientSnapshot['drain']['state'] {
  if (drained !== undefined) return 'drained';
  return accepting === 'yes' ? 'none' : accepting;
}

function asJson<T>(value: T): Serialized<T> {
  // The type describes what JSON serialization does to the value.
  return JSON.parse(JSON.stringify(value)) as Serialized<T>;
}
