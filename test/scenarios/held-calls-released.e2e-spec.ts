import { heldCallsReleased } from './held-calls-released.js';
import { itHolds } from './support/it-holds.js';

itHolds(heldCallsReleased);
