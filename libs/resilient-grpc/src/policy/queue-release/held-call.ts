/** A queued call that waits to be released. */
export interface HeldCall {
  /** Epoch milliseconds; Infinity if the call has no deadline. */
  readonly deadline: number;
  /** Time at which the call was queued, in monotonic milliseconds. */
  readonly waitingSince: number;
}

/** Times of a release, in milliseconds. */
export interface ReleaseTimes {
  /** Current monotonic time. */
  readonly now: number;
  /** Current epoch time. */
  readonly epoch: number;
  /** Monotonic time at which the channel became READY. */
  readonly readyAt: number;
  /** Maximum delay of a call after READY, or after it was queued if that is later. */
  readonly boundMs: number;
  /** Time from a request to its response. */
  readonly latencyMs: number;
}

/** Returns the monotonic time by which `call` must be sent. */
export function boundAt(call: HeldCall, { readyAt, boundMs }: ReleaseTimes): number {
  return Math.max(readyAt, call.waitingSince) + boundMs;
}

/** Returns how long `call` can still wait and receive its response before its deadline, in milliseconds; 0 or less if it is too late. */
export function spareMs(call: HeldCall, { epoch, latencyMs }: ReleaseTimes): number {
  return call.deadline - epoch - latencyMs;
}

/**
 * Returns the calls in release order: by deadline or by bound, whichever is earlier. In this order most calls meet their
 * deadlines, and no call starves. Calls with equal times keep their order.
 */
export function inSendOrder<Call extends HeldCall>(calls: Iterable<Call>, times: ReleaseTimes): readonly Call[] {
  const dueInMs = (call: Call): number => Math.min(spareMs(call, times), boundAt(call, times) - times.now);
  return [...calls].sort((a, b) => dueInMs(a) - dueInMs(b));
}
