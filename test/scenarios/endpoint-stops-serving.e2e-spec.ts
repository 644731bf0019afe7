import { endpointStopsServing } from './endpoint-stops-serving.js';
import { itHolds } from './support/it-holds.js';

itHolds(endpointStopsServing);
