import { oneOfMixedServersFailing } from './one-of-mixed-servers-failing.js';
import { itHolds } from './support/it-holds.js';

itHolds(oneOfMixedServersFailing);
