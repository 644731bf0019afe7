/** Limits on concurrent and queued calls. */
export interface ConcurrencyPolicy {
  /** Maximum number of concurrent calls; 1 or more. */
  readonly maxConcurrent: number;
  /** Maximum number of queued calls; 0 rejects a call immediately if all permits are taken. */
  readonly maxQueued: number;
}

/** Default of `maxQueued`. */
export const DEFAULT_MAX_QUEUED = 1_000;
