import type { WaitRefusal } from '../../call/call-transport.js';
import type { ChannelSettings } from '../channel-settings.js';

/** Shortest time in milliseconds that does not round to 0.0 s. */
const MIN_SHOWN_MS = 50;

/** Data for the error message of a refused call. */
export interface OutageDetails {
  readonly target: string;
  /** Time since the channel lost its connection or began to connect. */
  readonly unreachableMs: number;
  readonly cause: string;
  readonly connectAttempts: number;
  /** True if this is at least the third outage within a minute. Its grace period may then be shorter. */
  readonly flapping: boolean;
  readonly nextTryInMs: number | undefined;
  /** Remedy; `undefined` if it is unknown. */
  readonly remedy: string | undefined;
}

/**
 * Returns the refusal of a call:
 * 'orders:50051 has been unreachable for 7.3 s (9 connection attempts, next in 2.1 s): 10.0.0.7:50051 refused the connection: …'
 */
export function outageRefusal(outage: OutageDetails): WaitRefusal {
  const { target, unreachableMs, cause, connectAttempts, flapping, nextTryInMs, remedy } = outage;
  // A shorter time would read 'next in 0.0 s'.
  const isDue = nextTryInMs === undefined || nextTryInMs < MIN_SHOWN_MS;
  const next = isDue ? 'connecting now' : `next in ${seconds(nextTryInMs)}`;
  const attempts = `${String(connectAttempts)} connection ${connectAttempts === 1 ? 'attempt' : 'attempts'}`;
  const flaps = flapping ? '; at least the third outage within a minute, so calls wait less' : '';
  const lasted = `${target} has been unreachable for ${seconds(unreachableMs)}`;
  return {
    reason: 'outage',
    details: `${lasted} (${attempts}, ${next}${flaps}): ${cause}`,
    remedy,
    retryAfterMs: nextTryInMs ?? 0,
  };
}

/**
 * Returns a refusal if another call with a request of `bytes` bytes would exceed a limit; `undefined` otherwise. The refusal names the
 * limit.
 * @param whyNotReady returns the reason why calls wait
 */
export function tooManyWaiting(
  whyNotReady: () => string,
  waiting: { readonly calls: number; readonly bytes: number },
  bytes: number,
  { maxWaitingCalls, maxWaitingBytes }: Pick<ChannelSettings, 'maxWaitingCalls' | 'maxWaitingBytes'>,
): WaitRefusal | undefined {
  const refusal = (limit: string): WaitRefusal => {
    const [calls, are] = waiting.calls === 1 ? ['call', 'is'] : ['calls', 'are'];
    const waitingBytes = `${String(waiting.bytes)} request ${waiting.bytes === 1 ? 'byte' : 'bytes'}`;
    return {
      reason: 'too-many-waiting',
      details: `${whyNotReady()}; ${String(waiting.calls)} ${calls} with ${waitingBytes} ${are} already waiting (${limit})`,
      retryAfterMs: undefined,
    };
  };
  if (waiting.calls >= maxWaitingCalls) return refusal(`maxWaitingCalls: ${String(maxWaitingCalls)}`);
  if (waiting.bytes + bytes <= maxWaitingBytes) return undefined;
  return refusal(`limit: ${String(maxWaitingBytes)} bytes; this request: ${String(bytes)}`);
}

export const CLOSED: WaitRefusal = { reason: 'closed', details: 'The client was closed', retryAfterMs: undefined };

/** Formats a duration: '0.2 s', '7.3 s', '125 s'. */
function seconds(ms: number): string {
  const value = Math.max(ms, 0) / 1000;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} s`;
}
