import { itHolds } from './support/it-holds.js';
import { limitFollowsCapacity } from './limit-follows-capacity.js';

itHolds(limitFollowsCapacity);
