import { thunderingHerd } from './thundering-herd.js';
import { itHolds } from './support/it-holds.js';

itHolds(thunderingHerd);
