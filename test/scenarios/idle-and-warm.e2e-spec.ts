import { idleAndWarm } from './idle-and-warm.js';
import { itHolds } from './support/it-holds.js';

itHolds(idleAndWarm);
