import { coldStartDuringAnOutage } from './cold-start-during-an-outage.js';
import { itHolds } from './support/it-holds.js';

itHolds(coldStartDuringAnOutage);
