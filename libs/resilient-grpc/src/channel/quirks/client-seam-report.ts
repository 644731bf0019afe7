import type { Channel, ChannelCredentials } from '@grpc/grpc-js';
import type { EventHub } from '../../call/event-hub.js';
import { CLIENT_SEAMS } from './client-seams.js';
import { experimental } from './experimental.js';
import { SeamReport } from './seam-report.js';

/** Probes the private names of grpc-js that a client needs, and reports the missing ones as an event. */
export function clientSeamReport(events: EventHub, credentials: ChannelCredentials, channel: Channel): SeamReport {
  const report = new SeamReport(CLIENT_SEAMS, (untested) => {
    events.emit({ type: 'untested-version', ...untested });
  });
  report.checkStart({ experimental, credentials, channel });
  return report;
}
