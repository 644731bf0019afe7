import type { FailureReason } from '../../errors/grpc-call-error.js';
import { StatusCode } from '../../status/status-code.js';
import * as text from '../evidence/grpc-js-texts.js';
import type { Pushback } from '../pushback/parse-pushback.js';

/** How a call of a stream failed, as far as it matters for going on. */
export interface StreamFailure {
  /** As a GrpcCallError has it, also one of a later version; undefined: it has no status of gRPC. */
  readonly reason: string | undefined;
  readonly code: StatusCode | undefined;
  /** What the server asked for in its trailers. */
  readonly pushback: Pushback;
  /** When trying again makes sense, where that is known. */
  readonly retryAfterMs: number | undefined;
}

/** What a failure says about the next call. */
export type FailureKind =
  /** The connection, or the way to one, is gone: it says nothing of the place in the stream. */
  | 'lost'
  /** By the server, and of the kind that passes. */
  | 'server'
  /** By the server, which would say the same again. */
  | 'final-status'
  /** Ended on this side for what the call is. */
  | 'made-here'
  /** Whoever asked for the stream has left, or its time is over: the next call would only end the same. */
  | 'over'
  /** This process, or its client, is going. */
  | 'shut'
  /** No status of gRPC: an error of the program itself. */
  | 'no-status';

type KindByReason = 'lost' | 'made-here' | 'over' | 'shut' | 'by-code';

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
  deadline: 'over',
  cancelled: 'over',
  'inbound-cancelled': 'over',
  'not-sent': 'made-here',
  'requests-overflow': 'made-here',
  protocol: 'made-here',
  draining: 'shut',
  closed: 'shut',
} satisfies Record<FailureReason, KindByReason>;

// DEADLINE_EXCEEDED and CANCELLED are a proxy's or a server's that goes away, where the reason says that they are not ours.
const PASSING: ReadonlySet<StatusCode> = new Set([
  StatusCode.CANCELLED,
  StatusCode.UNKNOWN,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.ABORTED,
  StatusCode.INTERNAL,
  StatusCode.UNAVAILABLE,
]);

/** What `failure` says about the next call. */
export function failureKind({ reason, code }: StreamFailure): FailureKind {
  if (reason === undefined) return 'no-status';
  // A reason that nobody knows yet: to go on would be a guess.
  const kind = KINDS[reason] ?? 'made-here';
  if (kind !== 'by-code') return kind;
  return code !== undefined && PASSING.has(code) ? 'server' : 'final-status';
}

// grpc-js's texts for what its own user ends: by cancel(), and by close().
const CANCELLED_HERE = 'Cancelled on client';
const CLOSED_HERE = 'Channel closed before call started';

/** The reason of an error of grpc-js's own client, which shows no more than a code and a text. */
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
