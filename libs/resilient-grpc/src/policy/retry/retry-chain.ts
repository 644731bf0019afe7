/**
 * Metadata key of calls that a handler makes while it serves a retry. Retries in several layers multiply: three layers of four attempts
 * turn one call into 64. Therefore, while a handler serves a retry, its calls are retried only if they did not reach the server.
 */
export const RETRY_CHAIN_KEY = 'x-retry-chain';

/**
 * Value of `x-retry-chain` on a hedged attempt that is sent because other attempts are slow. Such an attempt carries an attempt count, as a
 * retry does, but it replaces no failed attempt.
 */
export const HEDGE_MARK = 'hedge';

/**
 * Time in milliseconds after the start of a retried stream during which its handler's calls count as part of the retry. Later calls are
 * unrelated to the earlier failure.
 */
const STREAM_CHAIN_MS = 10_000;

/** Metadata key for the number of previous attempts (gRFC A6). */
export const PREVIOUS_ATTEMPTS = 'grpc-previous-rpc-attempts';

/** True if a call with these values of `grpc-previous-rpc-attempts` and `x-retry-chain` is a retry or serves one. */
export function isRetry(previousAttempts: string | undefined, mark: string | undefined): boolean {
  if (mark === HEDGE_MARK) return false;
  return mark !== undefined || Number(previousAttempts ?? 0) > 0;
}

/** True if calls made at `now` (monotonic milliseconds) for an inbound call must not be retried once they may have reached a server. */
export function stopsRetries(
  inbound: { readonly retry: boolean; readonly streaming: boolean; readonly startedAt: number },
  now: number,
): boolean {
  return inbound.retry && (!inbound.streaming || now - inbound.startedAt < STREAM_CHAIN_MS);
}
