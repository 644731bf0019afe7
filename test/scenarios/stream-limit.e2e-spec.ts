import { streamLimit } from './stream-limit.js';
import { itHolds } from './support/it-holds.js';

itHolds(streamLimit);
