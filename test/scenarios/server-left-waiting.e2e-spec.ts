import { serverLeftWaiting } from './server-left-waiting.js';
import { itHolds } from './support/it-holds.js';

itHolds(serverLeftWaiting);
