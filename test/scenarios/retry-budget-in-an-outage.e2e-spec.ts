import { retryBudgetInAnOutage } from './retry-budget-in-an-outage.js';
import { itHolds } from './support/it-holds.js';

itHolds(retryBudgetInAnOutage);
