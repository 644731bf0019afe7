import { serverDrains } from './server-drains.js';
import { itHolds } from './support/it-holds.js';

itHolds(serverDrains);
