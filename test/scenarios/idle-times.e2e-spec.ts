import { idleTimes } from './idle-times.js';
import { itHolds } from './support/it-holds.js';

itHolds(idleTimes);
