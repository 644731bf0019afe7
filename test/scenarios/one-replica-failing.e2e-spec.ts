import { oneReplicaFailing } from './one-replica-failing.js';
import { itHolds } from './support/it-holds.js';

itHolds(oneReplicaFailing);
