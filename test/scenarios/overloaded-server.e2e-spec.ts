import { itHolds } from './support/it-holds.js';
import { overloadedServer } from './overloaded-server.js';

itHolds(overloadedServer);
