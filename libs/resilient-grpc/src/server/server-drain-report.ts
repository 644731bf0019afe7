/** How a drain of the server went. */
export interface ServerDrainReport {
  /** Calls that ended by themselves in it. */
  readonly finished: number;
  /** Streams that were completed by it (`onDrain: 'complete'`). */
  readonly completed: number;
  /** Streams that it ended UNAVAILABLE, to go on elsewhere. */
  readonly ended: number;
  /** Calls that were left at the end of the time. */
  readonly cutOff: number;
  readonly durationMs: number;
}
