import { mutuallyDependentGateways } from './mutually-dependent-gateways.js';
import { itHolds } from './support/it-holds.js';

itHolds(mutuallyDependentGateways);
