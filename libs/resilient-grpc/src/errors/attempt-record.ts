import type { StatusCode } from '../status/status-code.js';

/** Record of one ended attempt of a call, for results, errors, and events. */
export interface AttemptRecord {
  /** 1 for the original attempt. */
  readonly number: number;
  readonly code: StatusCode;
  readonly details: string;
  readonly peer?: string;
  readonly durationMs: number;
  readonly hedge: boolean;
}
