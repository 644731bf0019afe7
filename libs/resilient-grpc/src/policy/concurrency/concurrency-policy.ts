/** How many may run at once, and how many may wait for it. */
export interface ConcurrencyPolicy {
  /** 1 or more. */
  readonly maxConcurrent: number;
  /** 0: who finds all permits taken is refused at once. */
  readonly maxQueued: number;
}

/** Queue of a limit that names none. */
export const DEFAULT_MAX_QUEUED = 1_000;
