import { isDate } from '../../time/clock.js';
import { describeValue } from '../options/describe-value.js';

export interface DeadlineProblem {
  readonly problem: string;
}

// Exclusive upper bound of a timeout in milliseconds: just below the maximum of `grpc-timeout`, which is eight digits of hours, about
// 11,400 years.
const MAX_GRPC_TIMEOUT_MS = 99_999_998 * 3_600_000;

// Earliest valid deadline in epoch milliseconds, in the year 1973. An earlier deadline is almost always a duration passed by mistake.
const EARLIEST_EPOCH_MS = 1e11;

const REMEDY = 'timeoutMs: 500, or a deadline that is a Date';

/**
 * Validates a caller's `deadline` and returns it in epoch milliseconds (Infinity for no deadline), or the problem. grpc-js crashes the
 * process if a deadline is NaN, and reads a duration as a time in 1970.
 */
export function validateDeadline(value: unknown): number | DeadlineProblem {
  const epochMs = isDate(value) ? value.getTime() : value;
  if (typeof epochMs !== 'number' || Number.isNaN(epochMs)) {
    return problem(isDate(value) ? 'an invalid Date' : describeValue(value), REMEDY);
  }
  if (epochMs < EARLIEST_EPOCH_MS) {
    const durationMs = Number.isFinite(epochMs) && epochMs > 0 ? epochMs : 500;
    const got = isDate(value) ? value.toISOString() : String(epochMs);
    return problem(`${got}, which is a duration or a time far in the past`, `timeoutMs: ${durationMs}`);
  }
  return epochMs;
}

/** Returns the deadline `timeoutMs` after `epochNow`; Infinity if `timeoutMs` is `undefined` or exceeds the maximum of `grpc-timeout`. */
export function deadlineFromTimeout(epochNow: number, timeoutMs: number | undefined): number {
  return timeoutMs === undefined ? Infinity : sendableDeadline(epochNow + timeoutMs, epochNow);
}

/** Returns `deadline`, or Infinity if it exceeds the maximum of `grpc-timeout`, because grpc-js would crash the process. */
export function sendableDeadline(deadline: number, epochNow: number): number {
  return deadline - epochNow < MAX_GRPC_TIMEOUT_MS ? deadline : Infinity;
}

/** Returns the milliseconds from `epochNow` to `deadline`; 0 if it has passed, Infinity if there is none. */
export function remainingMs(deadline: number, epochNow: number): number {
  return Math.max(deadline - epochNow, 0);
}

function problem(got: string, write: string): DeadlineProblem {
  return { problem: `expected a Date or milliseconds since 1970, got ${got}; write ${write}` };
}

/** Maximum remaining time, in milliseconds, at which a deadline counts as the reason for the end of a call. */
const MAX_LEAD_MS = 100;

/** True if a deadline is likely to be the reason why a call ends now: at most 100 ms, and at most a tenth of the elapsed time, remain. */
export function isNearDeadline(remainingMs: number, elapsedMs: number): boolean {
  return remainingMs <= Math.min(MAX_LEAD_MS, elapsedMs / 10);
}

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/**
 * Parses a `grpc-timeout` header into milliseconds; returns `undefined` if it is invalid
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).
 */
export function parseGrpcTimeout(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  const perUnit = MS_PER_UNIT[unit];
  return perUnit === undefined ? undefined : Number(digits) * perUnit;
}

const UNITS = ['m', 'S', 'M', 'H'];

/** Formats `ms` as a `grpc-timeout` header: at most eight digits, rounded up (gRPC over HTTP/2, "Requests"). */
export function formatGrpcTimeout(ms: number): string {
  for (const unit of UNITS) {
    const amount = Math.ceil(Math.max(ms, 0) / (MS_PER_UNIT[unit] ?? 1));
    if (amount < 1e8) return `${String(amount)}${unit}`;
  }
  // 11,000 years: the longest timeout that the header can express.
  return '99999999H';
}
