import { mixedServersStopServing } from './mixed-servers-stop-serving.js';
import { itHolds } from './support/it-holds.js';

itHolds(mixedServersStopServing);
