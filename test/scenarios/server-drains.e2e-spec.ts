import { itHolds } from './support/it-holds.js';

await itHolds(import.meta.filename);
