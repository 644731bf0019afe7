/** Why a value is no deadline, and what to write instead. */
export interface DeadlineProblem {
  readonly problem: string;
}

// What `grpc-timeout` can say: eight digits of hours, 11 415 years.
const FARTHEST_MS = 99_999_998 * 3_600_000;

// 1973. Nobody sets a deadline that long ago, but many write a length where an instant is meant.
const EARLIEST_EPOCH_MS = 1e11;

/**
 * The instant that a caller's `deadline` names, in milliseconds since 1970 (Infinity: none), or what is wrong with it. A
 * NaN handed to grpc-js ends the process, and a length is taken for an instant in 1970.
 */
export function validateDeadline(value: unknown): number | DeadlineProblem {
  const epochMs = isDate(value) ? value.getTime() : value;
  if (typeof epochMs !== 'number') {
    return problem(`got ${describe(value)}`, 'deadline: Date.now() + 500, or timeoutMs: 500');
  }
  if (Number.isNaN(epochMs)) {
    const got = isDate(value) ? 'an invalid Date' : 'NaN';
    return problem(`got ${got}`, 'deadline: Date.now() + 500 with a number that is defined, or timeoutMs: 500');
  }
  if (epochMs < EARLIEST_EPOCH_MS) {
    const length = Number.isFinite(epochMs) && epochMs > 0 ? epochMs : 500;
    const got = isDate(value) ? value.toISOString() : String(epochMs);
    return problem(
      `got ${got}, which is a length or lies far in the past`,
      `timeoutMs: ${length}, or deadline: Date.now() + ${length}`,
    );
  }
  return epochMs;
}

/** The instant `timeoutMs` after `epochNow`; Infinity without a timeout, or with one too long to be told. */
export function deadlineFromTimeout(epochNow: number, timeoutMs: number | undefined): number {
  return timeoutMs === undefined ? Infinity : sendableDeadline(epochNow + timeoutMs, epochNow);
}

/** The first of up to three deadlines; what is undefined sets none. */
export function earliestDeadline(first: number | undefined, second?: number, third?: number): number {
  return Math.min(first ?? Infinity, second ?? Infinity, third ?? Infinity);
}

/** `deadline` as it can go over the wire: one too far away to be told is none, where grpc-js would end the process. */
export function sendableDeadline(deadline: number, epochNow: number): number {
  return deadline - epochNow < FARTHEST_MS ? deadline : Infinity;
}

/** Milliseconds from `epochNow` to `deadline`; 0 when it has passed, Infinity when there is none. */
export function remainingMs(deadline: number, epochNow: number): number {
  return Math.max(deadline - epochNow, 0);
}

function problem(got: string, write: string): DeadlineProblem {
  return { problem: `expected a Date or milliseconds since 1970, ${got}; write ${write}` };
}

// By its tag: a Date of another realm (a test runner's sandbox) is no instance of ours.
function isDate(value: unknown): value is Date {
  return Object.prototype.toString.call(value) === '[object Date]';
}

function describe(value: unknown): string {
  if (typeof value === 'string') return `the text ${JSON.stringify(value)}`;
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : `a value of type ${typeof value}`;
}
