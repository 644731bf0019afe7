import type { FailureReason } from '../../errors/grpc-call-error.js';
import { StatusCode } from '../../status/status-code.js';
import * as text from '../evidence/grpc-js-texts.js';
import type { Pushback } from '../pushback/parse-pushback.js';

/** Failure of a call in a resumable stream, with the data that the resume decision needs. */
export interface StreamFailure {
  /**
   * Reason for the failure: that of a GrpcCallError (possibly from a later version of this library), or derived from the error's type,
   * status code, and message; `undefined` if the error has no gRPC status and no known type.
   */
  readonly reason: string | undefined;
  readonly code: StatusCode | undefined;
  /** Pushback in the server's trailers. */
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
  /** The process or the client is shutting down. */
  | 'client-closing'
  /** The error has no gRPC status, because the application itself threw it. */
  | 'no-status';

type KindByReason = 'lost' | 'local' | 'ended-by-caller' | 'client-closing' | 'by-code';

const KINDS: Readonly<Record<string, KindByReason>> = {
  'connection-lost': 'lost',
  refused: 'lost',
  outage: 'lost',
  'stream-idle': 'lost',
  'attempt-timeout': 'lost',
  'circuit-open': 'lost',
  'too-many-waiting': 'lost',
  'concurrency-limit': 'lost',
  server: 'by-code',
  http: 'by-code',
  overloaded: 'by-code',
  deadline: 'ended-by-caller',
  cancelled: 'ended-by-caller',
  'inbound-cancelled': 'ended-by-caller',
  'not-sent': 'local',
  'requests-overflow': 'local',
  protocol: 'local',
  draining: 'client-closing',
  closed: 'client-closing',
} satisfies Record<FailureReason, KindByReason>;

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

/** Returns the kind of a failure. */
export function failureKind({ reason, code }: StreamFailure): FailureKind {
  if (reason === undefined) return 'no-status';
  // An unknown reason comes from a later version of this library. By default, the stream then fails, because resuming would be a guess.
  const kind = KINDS[reason] ?? 'local';
  if (kind !== 'by-code') return kind;
  return code !== undefined && TRANSIENT_CODES.has(code) ? 'server' : 'final-status';
}

// Status messages of grpc-js for calls that its user ends with cancel() or close().
const CANCELLED_HERE = 'Cancelled on client';
const CLOSED_HERE = 'Channel closed before call started';

/** Returns the failure reason for an error from a plain grpc-js client. Only the code and the message indicate the reason. */
export function reasonByText(code: StatusCode, details: string): FailureReason {
  switch (code) {
    case StatusCode.UNAVAILABLE:
      if (details === CLOSED_HERE) return 'closed';
      if (details === text.STREAM_REFUSED || text.NOT_PICKED.test(details)) return 'refused';
      return text.DROPPED.test(details) ? 'connection-lost' : 'server';
    case StatusCode.CANCELLED:
      if (details === CANCELLED_HERE) return 'cancelled';
      return details === text.RESET_BY_CANCEL ? 'connection-lost' : 'server';
    case StatusCode.INTERNAL:
      return text.RESET_BY_PEER.test(details) ? 'connection-lost' : 'server';
    case StatusCode.RESOURCE_EXHAUSTED:
      return details === text.RESET_BY_CALM ? 'connection-lost' : 'server';
    case StatusCode.DEADLINE_EXCEEDED:
      return text.DEADLINE.test(details) ? 'deadline' : 'server';
    default:
      return 'server';
  }
}
