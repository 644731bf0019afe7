import { flap } from './flap.js';
import { itHolds } from './support/it-holds.js';

itHolds(flap);
