import type { StatusCode } from '../status/status-code.js';

/** One attempt of a call that has ended, as results, errors and events tell of it. */
export interface AttemptRecord {
  /** 1 for the original attempt. */
  readonly number: number;
  readonly code: StatusCode;
  readonly details: string;
  readonly peer?: string;
  readonly durationMs: number;
  readonly hedge: boolean;
}
