import { shutdownEndsStreams } from './shutdown-ends-streams.js';
import { itHolds } from './support/it-holds.js';

itHolds(shutdownEndsStreams);
