import { stallAndBlackHole } from './stall-and-black-hole.js';
import { itHolds } from './support/it-holds.js';

itHolds(stallAndBlackHole);
