import { moment, type Clock } from '../time/clock.js';
import type { WireChannel } from './wire-channel.js';
import type { KnownConnection } from './connection/address-histories.js';
import type { SuspicionWatch } from './connection/suspicion-watch.js';
import type { ChannelReplacement } from './channel-replacement.js';
import type { OutageWatch, OutageRecord } from './outage/outage-watch.js';
import type { WaitingCalls } from './outage/waiting-calls.js';

/** State of a channel in addition to its connectivity and history. Times are ISO 8601. */
export interface ChannelDescription {
  readonly connections: readonly (Omit<KnownConnection, 'since'> & { readonly since: string })[];
  readonly outages: {
    readonly total: number;
    /** The latest past outages, oldest first. */
    readonly latest: readonly (Omit<OutageRecord, 'since'> & { readonly since: string })[];
  };
  readonly waiting: number;
  /** Waiting time of the oldest call in milliseconds; 0 if no call is waiting. */
  readonly oldestWaitMs: number;
  /** Number of channels and connections that were replaced. */
  readonly replaced: number;
}

/** Sources of a channel description. */
interface ChannelParts {
  readonly current: Pick<WireChannel, 'histories'>;
  readonly outage: Pick<OutageWatch, 'total' | 'past'>;
  readonly waiting: Pick<WaitingCalls, 'size' | 'oldestMs'>;
  readonly replacement: Pick<ChannelReplacement, 'count'>;
  readonly suspicion: Pick<SuspicionWatch, 'replacedByOthers'>;
}

export function describeChannel(parts: ChannelParts, clock: Clock): ChannelDescription {
  const { current, outage, waiting, replacement, suspicion } = parts;
  return {
    connections: current.histories.known.map((one) => ({ ...one, since: moment(one.since).toISOString() })),
    outages: {
      total: outage.total,
      latest: outage.past.map((one) => ({ ...one, since: moment(one.since).toISOString() })),
    },
    waiting: waiting.size,
    oldestWaitMs: waiting.oldestMs(clock.now()),
    replaced: replacement.count + suspicion.replacedByOthers,
  };
}
