/** Result of a drain. */
export interface DrainReport {
  /** Number of calls that have finished since the drain began, or since the application began to shut down if that was earlier. */
  readonly finished: number;
  /** Number of finished calls that failed, including those whose retry was due after the drain. */
  readonly failed: number;
  /** Number of streams that the drain completed. */
  readonly completed: number;
  /** Number of calls that the drain ended with an error because of `onDrain: 'fail'`. */
  readonly ended: number;
  /** Number of calls that the drain cut off at its timeout, or that `close()` ended during the drain. */
  readonly cancelled: number;
  /** Number of calls that the drain cut off at its timeout, by method path; `{}` if 0. */
  readonly cutOffByPath: Readonly<Record<string, number>>;
  readonly durationMs: number;
}
