import type { Metadata } from '@grpc/grpc-js';
import type { AttemptRecord } from '../errors/attempt-record.js';
import type { StatusCode } from '../status/status-code.js';
import type { ConnectionEnd } from './connection-end.js';
import type { ConnectivityState } from './connectivity.js';
import type { UntestedVersion } from './untested-version.js';

/** How a call ended, after its last attempt. */
export interface CallEnd {
  readonly code: StatusCode;
  readonly details: string;
  readonly trailers: Metadata;
  readonly peer?: string;
  readonly durationMs: number;
  readonly attempts: readonly AttemptRecord[];
}

/** What happens in a client. The only source of logs, metrics, traces and the dashboard; with no subscriber none is built. */
export type GrpcClientEvent = {
  readonly client: string;
  /** Milliseconds since 1970. */
  readonly at: number;
} & (
  | {
      readonly type: 'connectivity';
      readonly from: ConnectivityState;
      readonly to: ConnectivityState;
      readonly cause?: string;
    }
  | { readonly type: 'connection'; readonly change: 'connected'; readonly address: string }
  /** An attempt to connect failed; without an address it was its name that could not be resolved. */
  | { readonly type: 'connection'; readonly change: 'failed'; readonly address?: string; readonly cause: string }
  /** 'ended': by the server or on the way; 'closed': by this client, with its channel. */
  | {
      readonly type: 'connection';
      readonly change: 'ended' | 'closed';
      readonly address: string;
      readonly livedMs: number;
      readonly because: ConnectionEnd;
    }
  | { readonly type: 'call-start'; readonly path: string }
  | { readonly type: 'call-end'; readonly path: string; readonly end: CallEnd }
  | {
      readonly type: 'attempt-end';
      readonly path: string;
      readonly attempt: AttemptRecord;
      readonly reachedServer: 'no' | 'maybe' | 'yes';
      /** 'resume': its stream goes on by another call. */
      readonly next: 'none' | 'retry' | 'wait' | 'resume';
      readonly because: string;
    }
  /** Calls have waited 1.5 s for a connection, and no attempt to connect has failed: no outage is on. */
  | { readonly type: 'slow-connect'; readonly cause: string; readonly waiting: number }
  | { readonly type: 'outage-start'; readonly cause: string; readonly graceMs: number; readonly flapping: boolean }
  | {
      readonly type: 'outage-end';
      readonly durationMs: number;
      readonly tries: number;
      /** Calls that waited in it. */
      readonly held: number;
      /** Calls whose callers left while they waited, or whose deadlines came. */
      readonly left: number;
      /** Calls that waited and failed, or were refused. */
      readonly failed: number;
    }
  | {
      readonly type: 'circuit';
      readonly path: string;
      readonly from: 'closed' | 'open' | 'half-open';
      readonly to: 'closed' | 'open' | 'half-open';
      readonly because: string;
      readonly failures: number;
      readonly total: number;
      readonly breakMs: number;
    }
  | {
      readonly type: 'stream-resumed';
      readonly path: string;
      /** How often it was, this time included. */
      readonly resumes: number;
      /** From the end of its last call to the begin of this one. */
      readonly gapMs: number;
      /** Messages had been handed over since it began, or last went on. */
      readonly progress: boolean;
    }
  | {
      /** A stream that is read on demand, and that nobody reads. */
      readonly type: 'stream-leak';
      readonly path: string;
      readonly openMs: number;
      readonly unreadMs: number;
      /** 'file:line', where `traceStreams` is on. */
      readonly openedAt?: string;
    }
  /** An Observable pushed so many request messages in one turn, which are held until the wire takes them. */
  | { readonly type: 'requests-at-once'; readonly path: string; readonly messages: number }
  | { readonly type: 'throttle-too-small'; readonly maxTokens: number; readonly inFlight: number }
  | { readonly type: 'keepalive-throttled'; readonly keepaliveTimeMs: number }
  /** The installed grpc-js is outside the tested versions, or lacks private names; once per process and name. */
  | ({ readonly type: 'untested-version' } & UntestedVersion)
  /** The resolver reported more addresses than are used. */
  | { readonly type: 'addresses-limited'; readonly reported: number; readonly used: number }
  | { readonly type: 'connection-replaced'; readonly reason: 'credentials' | 'age' }
  | {
      readonly type: 'connection-replaced';
      /** It was dead, though TCP did not say so: it read no byte, and a probe of it got no answer. */
      readonly reason: 'suspicion';
      readonly address: string;
      /** Since the first call that timed out. */
      readonly silentMs: number;
      /** Calls on it that timed out meanwhile. */
      readonly timeouts: number;
      /** What carries its calls: a new channel, or connections to other addresses that were there and were heard of. */
      readonly by: 'new-channel' | 'other-connections';
    }
  | {
      readonly type: 'drain';
      readonly phase: 'begin' | 'end';
      readonly running: number;
      readonly finished: number;
      readonly completed: number;
      readonly cancelled: number;
      readonly durationMs: number;
    }
);
