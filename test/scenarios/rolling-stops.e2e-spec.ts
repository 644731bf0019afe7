import { rollingStops } from './rolling-stops.js';
import { itHolds } from './support/it-holds.js';

itHolds(rollingStops);
