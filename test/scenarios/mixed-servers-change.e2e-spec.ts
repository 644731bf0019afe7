import { mixedServersChange } from './mixed-servers-change.js';
import { itHolds } from './support/it-holds.js';

itHolds(mixedServersChange);
