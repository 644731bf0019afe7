import { boundAt, spareMs, type HeldCall, type ReleaseTimes } from './held-call.js';

/**
 * Returns the calls in release order: by deadline or by bound, whichever is earlier. In this order most calls meet their
 * deadlines, and no call starves. Calls with equal times keep their order.
 */
export function inSendOrder<Call extends HeldCall>(calls: Iterable<Call>, times: ReleaseTimes): readonly Call[] {
  const dueInMs = (call: Call): number => Math.min(spareMs(call, times), boundAt(call, times) - times.now);
  return [...calls].sort((a, b) => dueInMs(a) - dueInMs(b));
}
