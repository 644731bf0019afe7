import { closedUnread } from './closed-unread.js';
import { itHolds } from './support/it-holds.js';

itHolds(closedUnread);
