import { oneReplicaSick } from './one-replica-sick.js';
import { itHolds } from './support/it-holds.js';

itHolds(oneReplicaSick);
