import { droppedEachSecond } from './dropped-each-second.js';
import { itHolds } from './support/it-holds.js';

itHolds(droppedEachSecond);
