/** How a drain ended. */
export interface DrainReport {
  /** Calls that ended by themselves. */
  readonly finished: number;
  /** Streams that were ended cleanly. */
  readonly completed: number;
  /** Calls that were cut off at the end of the time. */
  readonly cancelled: number;
  readonly durationMs: number;
}
