import type { StatusCode } from '../../status/status-code.js';

/** A resolved gRFC A6 hedging policy: delay in milliseconds, numeric status codes, and `maxAttempts` already limited. */
export interface HedgingPolicy {
  /** Maximum number of attempts, including the original; 1 or more (in a service config, 2 or more). */
  readonly maxAttempts: number;
  /** Delay between attempts; 0 sends all attempts at once. */
  readonly hedgingDelayMs: number;
  readonly nonFatalStatusCodes: ReadonlySet<StatusCode>;
}
