/** Result of a drain. */
export interface DrainReport {
  /** Number of calls that finished within the drain. */
  readonly finished: number;
  /** Number of streams that were completed. */
  readonly completed: number;
  /** Number of calls that the drain failed: at its timeout, because of `onDrain: 'fail'`, or because their retry was due too late. */
  readonly cancelled: number;
  readonly durationMs: number;
}
