import { recordsChangeEachSecond } from './records-change-each-second.js';
import { itHolds } from './support/it-holds.js';

itHolds(recordsChangeEachSecond);
