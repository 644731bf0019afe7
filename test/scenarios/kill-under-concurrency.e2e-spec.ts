import { killUnderConcurrency } from './kill-under-concurrency.js';
import { itHolds } from './support/it-holds.js';

itHolds(killUnderConcurrency);
