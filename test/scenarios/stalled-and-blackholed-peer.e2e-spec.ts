import { stalledAndBlackholedPeer } from './stalled-and-blackholed-peer.js';
import { itHolds } from './support/it-holds.js';

itHolds(stalledAndBlackholedPeer);
