import { cutOffTogether } from './cut-off-together.js';
import { itHolds } from './support/it-holds.js';

itHolds(cutOffTogether);
