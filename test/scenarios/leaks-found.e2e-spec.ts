import { leaksFound } from './leaks-found.js';
import { itHolds } from './support/it-holds.js';

itHolds(leaksFound);
