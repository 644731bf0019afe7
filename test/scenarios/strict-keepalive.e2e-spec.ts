import { strictKeepalive } from './strict-keepalive.js';
import { itHolds } from './support/it-holds.js';

itHolds(strictKeepalive);
