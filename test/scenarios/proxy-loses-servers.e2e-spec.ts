import { proxyLosesServers } from './proxy-loses-servers.js';
import { itHolds } from './support/it-holds.js';

itHolds(proxyLosesServers);
