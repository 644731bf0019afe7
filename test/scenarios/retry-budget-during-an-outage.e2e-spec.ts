import { retryBudgetDuringAnOutage } from './retry-budget-during-an-outage.js';
import { itHolds } from './support/it-holds.js';

itHolds(retryBudgetDuringAnOutage);
