import { serverRestarted } from './server-restarted.js';
import { itHolds } from './support/it-holds.js';

itHolds(serverRestarted);
