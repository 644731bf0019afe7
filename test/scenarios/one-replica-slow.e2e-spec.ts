import { oneReplicaSlow } from './one-replica-slow.js';
import { itHolds } from './support/it-holds.js';

itHolds(oneReplicaSlow);
