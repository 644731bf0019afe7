import { shortAndLongConnections } from './short-and-long-connections.js';
import { itHolds } from './support/it-holds.js';

itHolds(shortAndLongConnections);
