import type { StatusCode } from '../../status/status-code.js';

/** A hedging policy of gRFC A6, resolved: length in milliseconds, codes as numbers, `maxAttempts` already limited. */
export interface HedgingPolicy {
  /** Includes the original attempt; 2 or more. */
  readonly maxAttempts: number;
  /** 0: all at once. */
  readonly hedgingDelayMs: number;
  readonly nonFatalStatusCodes: ReadonlySet<StatusCode>;
}
