import { scaleUpAndDown } from './scale-up-and-down.js';
import { itHolds } from './support/it-holds.js';

itHolds(scaleUpAndDown);
