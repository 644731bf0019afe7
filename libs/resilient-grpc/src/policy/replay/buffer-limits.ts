import type { LedgerLimits } from './replay-ledger.js';

// A burst of an Observable is legitimate; an endless one is an error.
const MIN_MESSAGES = 1_000;
const MIN_BYTES = 2 ** 20;

/** Returns the buffer limits of a source that cannot be paused, used while the ledger is full: `limits` again, but at least a burst. */
export function bufferLimits(limits: LedgerLimits): LedgerLimits {
  return { messages: Math.max(limits.messages, MIN_MESSAGES), bytes: Math.max(limits.bytes, MIN_BYTES) };
}
