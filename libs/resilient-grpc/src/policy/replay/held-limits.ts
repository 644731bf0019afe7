import type { LedgerLimits } from './replay-ledger.js';

// A burst of an Observable is no mistake; one without an end is.
const LEAST_MESSAGES = 1_000;
const LEAST_BYTES = 2 ** 20;

/** How much of what cannot be paused is held while as much as `limits` allow is unacknowledged: as much again, at least a burst. */
export function heldLimits(limits: LedgerLimits): LedgerLimits {
  return { messages: Math.max(limits.messages, LEAST_MESSAGES), bytes: Math.max(limits.bytes, LEAST_BYTES) };
}
