import { oneOfMixedServersSick } from './one-of-mixed-servers-sick.js';
import { itHolds } from './support/it-holds.js';

itHolds(oneOfMixedServersSick);
