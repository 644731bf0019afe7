import { cutInAWrite } from './cut-in-a-write.js';
import { itHolds } from './support/it-holds.js';

itHolds(cutInAWrite);
