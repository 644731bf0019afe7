import { herd } from './herd.js';
import { itHolds } from './support/it-holds.js';

itHolds(herd);
