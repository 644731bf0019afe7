/**
 * Metadata key of calls that are made while a retry is served. Layers multiply: three of four attempts each are 64 calls for
 * one, so that who serves a retry does not retry in turn.
 */
export const CHAIN_MARK = 'x-retry-chain';

/** Value of the mark that hedges carry. They count their attempts as retries do, but are none: nothing has failed. */
export const HEDGE_MARK = 'hedge';

/** A stream that was begun again goes on for long: only its beginning belongs to the failure before it. */
const CHAIN_STOP_STREAM_MS = 10_000;

/** Key by which gRPC tells how many attempts there were before (gRFC A6). */
export const PREVIOUS_ATTEMPTS = 'grpc-previous-rpc-attempts';

/** Whether a call with these values of `grpc-previous-rpc-attempts` and the mark is itself a retry, or serves one. */
export function isRetry(previousAttempts: string | undefined, mark: string | undefined): boolean {
  if (mark === HEDGE_MARK) return false;
  return mark !== undefined || Number(previousAttempts ?? 0) > 0;
}

/** Whether calls made at `now` (monotonic milliseconds) on behalf of an inbound one are not to be retried. */
export function stopsRetries(
  inbound: { readonly retry: boolean; readonly streaming: boolean; readonly startedAt: number },
  now: number,
): boolean {
  return inbound.retry && (!inbound.streaming || now - inbound.startedAt < CHAIN_STOP_STREAM_MS);
}
