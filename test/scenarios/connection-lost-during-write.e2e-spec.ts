import { connectionLostDuringWrite } from './connection-lost-during-write.js';
import { itHolds } from './support/it-holds.js';

itHolds(connectionLostDuringWrite);
