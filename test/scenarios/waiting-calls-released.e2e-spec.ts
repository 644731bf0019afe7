import { waitingCallsReleased } from './waiting-calls-released.js';
import { itHolds } from './support/it-holds.js';

itHolds(waitingCallsReleased);
