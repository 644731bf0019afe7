import { quietFeeds } from './quiet-feeds.js';
import { itHolds } from './support/it-holds.js';

itHolds(quietFeeds);
