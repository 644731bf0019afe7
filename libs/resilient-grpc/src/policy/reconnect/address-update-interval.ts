/** Minimum interval between two updates of a channel's addresses, in milliseconds. */
const MIN_INTERVAL_MS = 100;
/**
 * Maximum interval between updates without addresses, in milliseconds. The interval doubles with each consecutive update of this kind after
 * the first.
 */
const MAX_EMPTY_INTERVAL_MS = 1_000;
/** Pause after an update, as a multiple of its duration. */
const INTERVAL_PER_DURATION = 10;
/**
 * Maximum pause after an update, in milliseconds. The pause is limited, because a process that was suspended during an update must not keep
 * old addresses for minutes.
 */
const MAX_INTERVAL_MS = 5_000;

/** Returns the milliseconds from the start of an update to the next one. `emptyUpdates`: consecutive updates without addresses. */
export function updateIntervalMs(emptyUpdates: number): number {
  return Math.min(MIN_INTERVAL_MS * 2 ** Math.max(0, emptyUpdates - 1), MAX_EMPTY_INTERVAL_MS);
}

/** Returns the pause in milliseconds after an update that took `tookMs`. */
export function pauseAfterUpdateMs(tookMs: number): number {
  return Math.min(tookMs * INTERVAL_PER_DURATION, MAX_INTERVAL_MS);
}
