import { boundAt, spareMs, type HeldCall, type ReleaseTimes } from './held-call.js';

/**
 * Returns the calls in the order in which they are released: by deadline or by bound, whichever is earlier. Most calls meet
 * their deadlines that way, and no call is passed over forever. Calls with equal times keep their order.
 */
export function inSendOrder<Call extends HeldCall>(calls: Iterable<Call>, times: ReleaseTimes): readonly Call[] {
  const dueInMs = (call: Call): number => Math.min(spareMs(call, times), boundAt(call, times) - times.now);
  return [...calls].sort((a, b) => dueInMs(a) - dueInMs(b));
}
