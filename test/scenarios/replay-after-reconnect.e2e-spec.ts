import { replayAfterReconnect } from './replay-after-reconnect.js';
import { itHolds } from './support/it-holds.js';

itHolds(replayAfterReconnect);
