import { overallTimeouts } from './overall-timeouts.js';
import { itHolds } from './support/it-holds.js';

itHolds(overallTimeouts);
