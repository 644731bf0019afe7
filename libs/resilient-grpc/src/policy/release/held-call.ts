/** A call that waits for its release. */
export interface HeldCall {
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Monotonic milliseconds. */
  readonly waitingSince: number;
}

/** Times of a release in milliseconds. */
export interface ReleaseTimes {
  /** Monotonic. */
  readonly now: number;
  /** The same moment since 1970. */
  readonly epoch: number;
  /** Monotonic time at which the channel became READY. */
  readonly readyAt: number;
  /** A call is sent within this time after READY, or after it began to wait. */
  readonly boundMs: number;
  /** Time from a request to its answer. */
  readonly latencyMs: number;
}

/** Monotonic time by which `call` must have been sent. */
export function boundAt(call: HeldCall, { readyAt, boundMs }: ReleaseTimes): number {
  return Math.max(readyAt, call.waitingSince) + boundMs;
}

/** Milliseconds in which `call` can still be sent and answered before its deadline; 0 or less if it is too late. */
export function spareMs(call: HeldCall, { epoch, latencyMs }: ReleaseTimes): number {
  return call.deadline - epoch - latencyMs;
}
