import type { MethodKind } from './method.js';
import type { StatusCode } from '../status/status-code.js';
import type { UntestedVersion } from './untested-version.js';

/** What happens in a server. The only source of its logs, metrics and traces; with no subscriber none is built. */
export type GrpcServerEvent = {
  /** Milliseconds since 1970. */
  readonly at: number;
} & (
  | { readonly type: 'call-start'; readonly path: string; readonly kind: MethodKind }
  | { readonly type: 'call-end'; readonly path: string; readonly kind: MethodKind; readonly end: ServerCallEnd }
  | { readonly type: 'drain'; readonly phase: 'begin'; readonly running: number }
  | ({ readonly type: 'drain'; readonly phase: 'end' } & ServerDrainReport)
  /** A connection was told to go, or its peer was found dead. */
  | {
      readonly type: 'connection-end';
      readonly peer: string;
      readonly because: 'age' | 'age-grace' | 'idle' | 'keepalive' | 'half-request';
    }
  /** A stream on which nothing passed was ended. */
  | { readonly type: 'stream-idle'; readonly path: string; readonly peer: string; readonly idleMs: number }
  /** A handler still runs though its call has ended. */
  | { readonly type: 'handler-leak'; readonly path: string; readonly overMs: number }
  /** An Observable ran ahead of its client by more than it may. */
  | { readonly type: 'responses-overflow'; readonly path: string; readonly bytes: number }
  /** An Observable pushed many messages in one turn, which are held in memory. */
  | { readonly type: 'responses-at-once'; readonly path: string; readonly messages: number }
  /** A method that answers once emitted again after its answer. */
  | { readonly type: 'extra-response'; readonly path: string }
  /** The installed grpc-js is outside the tested versions, or lacks private names; once per process and name. */
  | ({ readonly type: 'untested-version' } & UntestedVersion)
  /** A handler failed with what is no gRPC error; its caller is told as little as Nest tells it. */
  | { readonly type: 'handler-failed'; readonly path: string; readonly error: unknown }
);

/** How a call ended, as the server knows it. */
export interface ServerCallEnd {
  readonly code: StatusCode;
  readonly peer: string;
  readonly durationMs: number;
  /** Messages. */
  readonly sent: number;
  readonly received: number;
}

/** How a drain of the server went. */
export interface ServerDrainReport {
  /** Calls that ended by themselves in it. */
  readonly finished: number;
  /** Streams that were completed by it (`onDrain: 'complete'`). */
  readonly completed: number;
  /** Streams that it ended UNAVAILABLE, to go on elsewhere. */
  readonly ended: number;
  /** Calls that were left at the end of the time. */
  readonly cutOff: number;
  /** Connections that were cut: they had begun requests and sent no more of them, or had not closed at the end of the time. */
  readonly connectionsCutOff: number;
  readonly durationMs: number;
}
