import { oneUnhealthyEndpoint } from './one-unhealthy-endpoint.js';
import { itHolds } from './support/it-holds.js';

itHolds(oneUnhealthyEndpoint);
