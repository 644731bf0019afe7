import { closedWhileIdle } from './closed-while-idle.js';
import { itHolds } from './support/it-holds.js';

itHolds(closedWhileIdle);
