import type { StatusCode } from '../status/status-code.js';

/** Record of one ended attempt of a call, for results, errors, and events. */
export interface AttemptRecord {
  /** Number of the attempt; 1 for the original one. */
  readonly number: number;
  readonly code: StatusCode;
  readonly details: string;
  readonly peer?: string;
  readonly durationMs: number;
  /** True if the call was hedged and another attempt determined the result of the call. */
  readonly superseded: boolean;
}
