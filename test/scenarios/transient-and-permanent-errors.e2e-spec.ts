import { transientAndPermanentErrors } from './transient-and-permanent-errors.js';
import { itHolds } from './support/it-holds.js';

itHolds(transientAndPermanentErrors);
