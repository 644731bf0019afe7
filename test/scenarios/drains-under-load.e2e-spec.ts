import { drainsUnderLoad } from './drains-under-load.js';
import { itHolds } from './support/it-holds.js';

itHolds(drainsUnderLoad);
