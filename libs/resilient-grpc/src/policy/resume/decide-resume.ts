import type { Random } from '../../time/random.js';
import { StatusCode } from '../../status/status-code.js';
import { backoffMs, type BackoffJitter, type RetryPolicy } from '../retry/retry-policy.js';
import type { FailureReason } from '../../errors/grpc-call-error.js';
import { RESET_BY_CALM, RESET_BY_CANCEL, RESET_BY_PEER, STREAM_REFUSED } from '../evidence/grpc-js-texts.js';
import { failureByText } from '../evidence/local-failure.js';
import type { Pushback } from '../pushback/parse-pushback.js';

/** Failure of a call in a resumable stream, with the data that the resume decision needs. */
export interface StreamFailure {
  /**
   * Reason for the failure: that of a GrpcCallError (possibly from a later version of this library), or derived from the error's type,
   * status code, and message; `undefined` if the error has no gRPC status and no known type.
   */
  readonly reason: string | undefined;
  readonly code: StatusCode | undefined;
  readonly pushback: Pushback;
  /** Time after which a retry is useful; `undefined` if unknown. */
  readonly retryAfterMs: number | undefined;
}

/** Kind of a failure, by its meaning for the next call. */
export type FailureKind =
  /** Failure that is not evidence against the position, such as a lost connection, a silent server, or a limit of the client. */
  | 'lost'
  /** Transient failure that the server or a proxy reported. */
  | 'server'
  /** Permanent failure that the server or a proxy reported. The next call would fail in the same way. */
  | 'final-status'
  /** Failure that the client detected and that the next call would repeat, such as an invalid response. Includes unknown reasons. */
  | 'local'
  /** The caller cancelled the stream, or the deadline passed; the next call would end in the same way. */
  | 'ended-by-caller'
  | 'client-closing'
  /** The error has no gRPC status, because the application itself threw it. */
  | 'no-status';

/**
 * Meaning of a failure's reason. 'not-admitted': a limit or an outage rejected the call before it was sent. 'unsent': the request itself
 * could not be sent. 'by-code': the status code determines the meaning.
 */
type ReasonKind = 'lost' | 'not-admitted' | 'unsent' | 'local' | 'ended-by-caller' | 'client-closing' | 'by-code';

const KINDS: Readonly<Record<string, ReasonKind>> = {
  'connection-lost': 'lost',
  refused: 'lost',
  'stream-idle': 'lost',
  'attempt-timeout': 'lost',
  outage: 'not-admitted',
  'circuit-open': 'not-admitted',
  'too-many-waiting': 'not-admitted',
  'concurrency-limit': 'not-admitted',
  server: 'by-code',
  http: 'by-code',
  overloaded: 'by-code',
  'in-doubt': 'by-code',
  deadline: 'ended-by-caller',
  cancelled: 'ended-by-caller',
  'inbound-cancelled': 'ended-by-caller',
  'not-sent': 'unsent',
  'requests-overflow': 'unsent',
  protocol: 'local',
  'trailers-missing': 'local',
  draining: 'client-closing',
  closed: 'client-closing',
} satisfies Record<FailureReason, ReasonKind>;

/** Returns the meaning of a reason; `undefined` without one, and for a reason of a later version of this library. */
export function reasonKind(reason: string | undefined): ReasonKind | undefined {
  return reason === undefined ? undefined : KINDS[reason];
}

// Status codes of transient failures that the server or a proxy reported. DEADLINE_EXCEEDED and CANCELLED are included, because with reason
// 'server' they come from the server (for example, while it shuts down) or a proxy, not from this client.
const TRANSIENT_CODES: ReadonlySet<StatusCode> = new Set([
  StatusCode.CANCELLED,
  StatusCode.UNKNOWN,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.ABORTED,
  StatusCode.INTERNAL,
  StatusCode.UNAVAILABLE,
]);

export function failureKind({ reason, code }: StreamFailure): FailureKind {
  if (reason === undefined) return 'no-status';
  // An unknown reason comes from a later version of this library. By default, the stream then fails, because resuming would be a guess.
  const kind = KINDS[reason] ?? 'local';
  if (kind === 'not-admitted') return 'lost';
  if (kind === 'unsent') return 'local';
  if (kind !== 'by-code') return kind;
  return code !== undefined && TRANSIENT_CODES.has(code) ? 'server' : 'final-status';
}

// Status messages of grpc-js for calls that its user ends with cancel() or close().
const CANCELLED_HERE = 'Cancelled on client';
const CLOSED_HERE = 'Channel closed before call started';

/** Returns the failure reason for an error from a plain grpc-js client. Only the code and the message indicate the reason. */
export function reasonByText(code: StatusCode, details: string): FailureReason {
  const failure = failureByText(code, details);
  switch (code) {
    case StatusCode.UNAVAILABLE:
      if (details === CLOSED_HERE) return 'closed';
      if (details === STREAM_REFUSED || failure === 'not-placed') return 'refused';
      return failure === 'dropped' ? 'connection-lost' : 'server';
    case StatusCode.CANCELLED:
      if (details === CANCELLED_HERE) return 'cancelled';
      return details === RESET_BY_CANCEL ? 'connection-lost' : 'server';
    case StatusCode.INTERNAL:
      return RESET_BY_PEER.test(details) ? 'connection-lost' : 'server';
    case StatusCode.RESOURCE_EXHAUSTED:
      return details === RESET_BY_CALM ? 'connection-lost' : 'server';
    case StatusCode.DEADLINE_EXCEEDED:
      return failure === 'deadline' ? 'deadline' : 'server';
    default:
      return 'server';
  }
}

/** Backoff and limits of a resumable stream. */
export interface ResumePolicy extends Pick<RetryPolicy, 'initialBackoffMs' | 'maxBackoffMs' | 'backoffMultiplier'> {
  /** Maximum number of failed calls since the last progress or healthy call; at this number, the stream fails. Infinity for no limit. */
  readonly maxAttempts: number;
  readonly jitter: BackoffJitter;
  /** Minimum duration of a healthy call, with or without messages. Values below `MIN_LIFE_MS` count as `MIN_LIFE_MS`. */
  readonly minHealthyMs: number;
}

/**
 * Minimum lifetime of a healthy call, in milliseconds. A server failure within this time is evidence against the message at the stream's
 * position, whatever `minHealthyMs` is.
 */
export const MIN_LIFE_MS = 1_000;

/**
 * Maximum delay in milliseconds that a server can request between two calls of a stream. A stream often has no deadline, so a single wrong
 * status would otherwise silence it for days.
 */
export const MAX_REQUESTED_DELAY_MS = 300_000;

export const DEFAULT_RESUME_POLICY: ResumePolicy = {
  maxAttempts: Infinity,
  initialBackoffMs: 100,
  maxBackoffMs: 10_000,
  backoffMultiplier: 2,
  jitter: 'grpc',
  // Equals the maximum backoff of a channel. Shorter calls of a quiet feed increase the backoff. After the first backoffs, a server that
  // ends every call therefore receives at most one call per 5 s.
  minHealthyMs: 5_000,
};

/**
 * Number of server failures at one position after which the stream fails with reason 'poison'. Without this limit, the client would
 * endlessly request a message that the server cannot send. Only failures that are evidence against the position count. Lost connections,
 * UNAVAILABLE, and failures of calls that lasted `minHealthyMs` are excluded.
 */
export const MAX_SERVER_FAILURES = 5;

/** Counters of a stream since its last progress or its last healthy call. */
export interface ResumeState {
  readonly attempts: number;
  /** Failed calls that count toward `MAX_SERVER_FAILURES`. */
  readonly serverFailures: number;
  readonly waits: number;
}

/** State of a stream that starts or has just made progress. */
export const INITIAL_RESUME_STATE: ResumeState = { attempts: 0, serverFailures: 0, waits: 0 };

export interface EndedCall {
  /** Failure of the call; `undefined` if the call ended cleanly, or if the client ended it at its maximum age. */
  readonly failure: StreamFailure | undefined;
  /** True if the client ended the call at its maximum age, which is jittered. @defaultValue false */
  readonly aged?: boolean;
  /** True if the stream made progress: its cursor advanced, or a message was acknowledged. */
  readonly progressed: boolean;
  /**
   * Milliseconds since the start of the last attempt. If the client ended the call after a time without progress, that time is excluded.
   */
  readonly livedMs: number;
  /** Decision of the user's error handler; `undefined` for the default. The handler is not called for failures of kind 'client-closing'. */
  readonly requested?: 'resume' | 'complete' | 'fail' | undefined;
}

interface Resumption {
  readonly action: 'resume';
  readonly delayMs: number;
  readonly state: ResumeState;
}

/** Decision that follows a call of a resumable stream. */
export type ResumeDecision =
  | Resumption
  | { readonly action: 'complete' }
  | {
      readonly action: 'fail';
      readonly because:
        | Exclude<FailureKind, 'lost' | 'server'>
        | 'requested'
        /** The server's pushback forbade a retry. */
        | 'pushback'
        /** The server failed `MAX_SERVER_FAILURES` calls at one position, soon after they started. */
        | 'poison'
        | 'attempts-exhausted';
    };

/**
 * Decides whether and when another call resumes a stream. Progress, or a call that lasted `minHealthyMs`, resets the backoff and the
 * counters. A shorter call without progress that ended cleanly resets nothing. It is not a failure, but a backoff follows it.
 */
export function decideResume(
  before: ResumeState,
  call: EndedCall,
  policy: ResumePolicy,
  random: Random,
): ResumeDecision {
  const isHealthy = call.livedMs >= Math.max(policy.minHealthyMs, MIN_LIFE_MS);
  const isReset = call.progressed || isHealthy;
  const state = isReset ? INITIAL_RESUME_STATE : before;
  const { failure } = call;
  const resume = ({ waits, ...counted }: ResumeState): Resumption => {
    // After a healthy call, the jitter is full, because one cause may have ended the streams of a whole fleet.
    const spread = isHealthy ? 'full' : policy.jitter;
    const backoff = isHealthy && call.aged === true ? 0 : backoffMs(policy, waits, random, spread);
    const delayMs = Math.max(backoff, minWaitMs(failure));
    return { action: 'resume', delayMs, state: { ...counted, waits: isHealthy ? 0 : waits + 1 } };
  };
  if (failure === undefined) return resume(state);
  const kind = failureKind(failure);
  if (kind === 'client-closing') return fail('client-closing');
  if (call.requested === 'complete') return { action: 'complete' };
  if (call.requested === 'fail') return fail('requested');
  // onError cannot resume the stream after these failures, because a cancelled stream would restart endlessly.
  if (kind === 'ended-by-caller') return fail('ended-by-caller');
  if (call.requested !== 'resume') {
    if (kind !== 'lost' && kind !== 'server') return fail(kind);
    if (failure.pushback.kind === 'stop') return fail('pushback');
  }
  const failed = {
    attempts: state.attempts + (isReset ? 0 : 1),
    serverFailures: state.serverFailures + (isServerFailure(failure) && !isHealthy ? 1 : 0),
    waits: state.waits,
  };
  if (failed.serverFailures >= MAX_SERVER_FAILURES) return fail('poison');
  if (failed.attempts >= policy.maxAttempts) return fail('attempts-exhausted');
  return resume(failed);
}

/** Returns the minimum wait, in milliseconds, that the server, the channel, or a circuit breaker requires. */
function minWaitMs(failure: StreamFailure | undefined): number {
  if (failure === undefined) return 0;
  const { reason, pushback, retryAfterMs = 0 } = failure;
  // Not limited, because the delay of a circuit breaker comes from its own options.
  if (reason === 'circuit-open') return retryAfterMs;
  return Math.min(Math.max(pushback.kind === 'delay' ? pushback.ms : 0, retryAfterMs), MAX_REQUESTED_DELAY_MS);
}

// True if the failure of an unhealthy call counts toward `MAX_SERVER_FAILURES`. Protocol violations count, because the message that causes
// a violation causes it again when the stream resumes. UNAVAILABLE does not count, because the same call may succeed later, and because a
// proxy returns UNAVAILABLE while its upstream is unreachable.
function isServerFailure({ reason, code }: StreamFailure): boolean {
  return reason === 'protocol' || (reason === 'server' && code !== StatusCode.UNAVAILABLE);
}

function fail(because: Extract<ResumeDecision, { action: 'fail' }>['because']): ResumeDecision {
  return { action: 'fail', because };
}

/** Compares two cursors: returns a negative number, 0, or a positive number; NaN if they cannot be compared. */
export type CompareCursors<C> = (a: C, b: C) => number;

/** Position of a message relative to the messages already received. Messages that are 'newer' or 'same' must be delivered. */
export type CursorPlace =
  /** After all messages that were already received. */
  | 'newer'
  /** Same cursor as the last message or heartbeat; several messages may share a cursor. */
  | 'same'
  /** Already received; a resumed call may start with such messages. */
  | 'overlap'
  /** Already received, after `MAX_OVERLAP` other such messages at the start of the call. */
  | 'too-much-overlap'
  /** Before a message or heartbeat that the same call delivered. */
  | 'went-back'
  | 'not-comparable';

/**
 * Maximum number of already received messages that a server may repeat at the start of a call. Beyond that, the server is assumed to ignore
 * the cursor.
 */
export const MAX_OVERLAP = 10_000;

/**
 * Compares numbers and bigints, including a number with a bigint. Returns NaN for other values, and for numbers that are unsafe integers.
 */
export function compareNumbers(a: unknown, b: unknown): number {
  if (!isNumeric(a) || !isNumeric(b)) return NaN;
  if (a < b) return -1;
  return a > b ? 1 : 0;
}

export function isNumeric(value: unknown): value is number | bigint {
  return typeof value === 'bigint' || (typeof value === 'number' && !Number.isNaN(value) && !isRounded(value));
}

/**
 * True if the value is an integer that may have been rounded, such as a 64-bit id read as a number. The next id could round to the same
 * value. After a resume, its message would then be dropped as already received.
 */
export function isRounded(value: unknown): value is number {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

/** Tracks the progress of a resumable stream by the cursors of its messages. */
export class CursorTrack<C> {
  /** Cursor after which the next call starts. */
  cursor: C;
  /** True if the current call has received a newer cursor. */
  progressed = false;
  private hasCursor = false;
  /** True if the current call has passed the messages that were already received. */
  private hasPassedOverlap = false;
  private overlap = 0;

  constructor(
    seed: C,
    private readonly compare: CompareCursors<C>,
  ) {
    this.cursor = seed;
  }

  callBegan(): void {
    this.hasPassedOverlap = false;
    this.progressed = false;
    this.overlap = 0;
  }

  /** Records a message and returns its position. If the message is newer, the next call starts after its cursor. */
  take(cursor: C): CursorPlace {
    // Without a received cursor, `cursor` is compared with itself, because the seed of a stream that starts from the beginning may not be
    // comparable.
    const order = this.order(cursor, this.hasCursor ? this.cursor : cursor);
    if (order === undefined) return 'not-comparable';
    if (!this.hasCursor || order > 0) {
      this.advance(cursor);
      return 'newer';
    }
    if (this.hasPassedOverlap) return order === 0 ? 'same' : 'went-back';
    this.overlap += 1;
    return this.overlap > MAX_OVERLAP ? 'too-much-overlap' : 'overlap';
  }

  /** Records a heartbeat, a message that carries only the server's cursor. Ignored if the cursor is not newer. */
  heartbeat(cursor: C): void {
    // Any cursor is newer than an undefined or null seed.
    const isFirst = isNothing(this.cursor);
    const order = this.order(cursor, isFirst ? cursor : this.cursor);
    if (order !== undefined && (isFirst || order > 0)) this.advance(cursor);
  }

  private advance(cursor: C): void {
    this.cursor = cursor;
    this.hasCursor = true;
    this.hasPassedOverlap = true;
    this.progressed = true;
  }

  private order(a: C, b: C): number | undefined {
    // Checked before the comparison, because many compare functions return 0 for undefined and null.
    if (isNothing(a) || Number.isNaN(a)) return undefined;
    const order = this.compare(a, b);
    return typeof order === 'number' && !Number.isNaN(order) ? order : undefined;
  }
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null;
}
