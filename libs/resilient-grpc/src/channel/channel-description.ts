import { moment, type Clock } from '../time/clock.js';
import type { ChannelGeneration } from './channel-generation.js';
import type { KnownConnection } from './connection/connection-histories.js';
import type { SuspicionWatch } from './connection/suspicion-watch.js';
import type { Succession } from './succession.js';
import type { OutageWatch, PastOutage } from './waiting/outage-watch.js';
import type { WaitingCalls } from './waiting/waiting-calls.js';

/** What of a channel is shown beside its connectivity and its history. Moments are ISO 8601. */
export interface ChannelDescription {
  readonly connections: readonly (Omit<KnownConnection, 'since'> & { readonly since: string })[];
  readonly outages: {
    readonly total: number;
    /** The latest that are over, oldest first. */
    readonly latest: readonly (Omit<PastOutage, 'since'> & { readonly since: string })[];
  };
  readonly waiting: number;
  /** 0 where none waits. */
  readonly oldestWaitMs: number;
  /** Connections that took the place of another. */
  readonly replaced: number;
}

/** What it is made from. */
interface ChannelParts {
  readonly current: Pick<ChannelGeneration, 'knownConnections'>;
  readonly outage: Pick<OutageWatch, 'total' | 'past'>;
  readonly waiting: Pick<WaitingCalls, 'size' | 'oldestMs'>;
  readonly succession: Pick<Succession, 'count'>;
  readonly suspicion: Pick<SuspicionWatch, 'replacedByOthers'>;
}

export function describeChannel(parts: ChannelParts, clock: Clock): ChannelDescription {
  const { current, outage, waiting, succession, suspicion } = parts;
  return {
    connections: current.knownConnections.map((one) => ({ ...one, since: moment(one.since).toISOString() })),
    outages: {
      total: outage.total,
      latest: outage.past.map((one) => ({ ...one, since: moment(one.since).toISOString() })),
    },
    waiting: waiting.size,
    oldestWaitMs: waiting.oldestMs(clock.now()),
    replaced: succession.count + suspicion.replacedByOthers,
  };
}
