import { hedgingFollowsLatency } from './hedging-follows-latency.js';
import { itHolds } from './support/it-holds.js';

itHolds(hedgingFollowsLatency);
