import { coldStartInAnOutage } from './cold-start-in-an-outage.js';
import { itHolds } from './support/it-holds.js';

itHolds(coldStartInAnOutage);
