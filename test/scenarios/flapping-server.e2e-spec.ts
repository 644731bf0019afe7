import { flappingServer } from './flapping-server.js';
import { itHolds } from './support/it-holds.js';

itHolds(flappingServer);
