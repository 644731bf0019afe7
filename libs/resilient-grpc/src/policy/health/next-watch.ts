import { backoffMs } from '../retry/retry-policy.js';
import { StatusCode } from '../../status/status-code.js';
import type { Random } from '../../time/random.js';

const BACKOFF = Object.freeze({ initialBackoffMs: 1_000, maxBackoffMs: 30_000, backoffMultiplier: 1.6 });
/**
 * Minimum duration in milliseconds of a healthy Watch. A Watch that received a response and lasted this long restarts without a backoff.
 */
const MIN_HEALTHY_MS = 1_000;
/** Maximum delay of a restart in milliseconds. */
const MAX_RESTART_DELAY_MS = 100;

/** A Watch of grpc.health.v1 that ended. */
export interface EndedWatch {
  /** True if the Watch received a response. */
  readonly answered: boolean;
  readonly livedMs: number;
  /** Number of consecutive failed Watches before this one. */
  readonly failures: number;
  /** Status of the Watch; `undefined` if no connection was available. */
  readonly end: { readonly code: number; readonly http?: string | undefined } | undefined;
}

export type NextWatch =
  /**
   * The server does not implement the health service. The server counts as healthy, and the service is not called again on this connection.
   */
  | { readonly kind: 'unimplemented' }
  /** The next Watch starts within 100 ms. */
  | { readonly kind: 'restart'; readonly delayMs: number; readonly failures: number }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly failures: number };

/**
 * Decides the step after a Watch that ended (gRFC A17). A response resets the backoff. If the server ends the Watch right after its
 * response, the next Watch waits for the first backoff. Without this wait, the client would call such a server without a pause.
 */
export function nextWatch({ answered, livedMs, failures, end }: EndedWatch, random: Random): NextWatch {
  if (end?.code === StatusCode.UNIMPLEMENTED && end.http === undefined) return { kind: 'unimplemented' };
  const before = answered ? 0 : failures;
  if (answered && livedMs >= MIN_HEALTHY_MS) {
    return { kind: 'restart', delayMs: restartDelayMs(random), failures: before };
  }
  return { kind: 'retry', delayMs: backoffMs(BACKOFF, before, random), failures: before + 1 };
}

/** Random delay of a restart without a backoff, in milliseconds. */
export function restartDelayMs(random: Random): number {
  return MAX_RESTART_DELAY_MS * random();
}
