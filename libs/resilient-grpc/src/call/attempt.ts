import type { CallOptions, Interceptor, Metadata } from '@grpc/grpc-js';
import type { AttemptEvidence } from '../policy/evidence/attempt-evidence.js';
import type { CallTelemetry } from './call-telemetry.js';
import type { MethodDescriptor } from './method.js';

/** One attempt of a call, as it is handed to the transport. */
export interface AttemptRequest {
  readonly method: MethodDescriptor;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Copied by the transport before it is changed: may be shared by many attempts. */
  readonly metadata: Metadata;
  /** grpc-js's own options of this call (host, parent, propagate_flags, credentials), handed on unchanged. */
  readonly options: CallOptions | undefined;
  /** grpc-js's interceptors, outermost first. Undefined when there are none: then messages are sent as bytes. */
  readonly interceptors: readonly Interceptor[] | undefined;
  /** 1 for the original attempt of its call. */
  readonly number: number;
  /** True if another attempt may follow one that the server has received. */
  readonly mayRepeat: boolean;
  /** A larger response message ends the attempt; beside the channel's own limit. */
  readonly maxReceiveBytes: number;
  /** Is told of it. */
  readonly telemetry?: CallTelemetry | undefined;
}

/** What an attempt tells its owner: headers at most once, messages as they are asked for, the end exactly once and last. */
export interface AttemptListener {
  onHeaders(headers: Metadata): void;
  onMessage(message: unknown): void;
  onEnd(end: AttemptEnd): void;
}

/** How an attempt ended. */
export interface AttemptEnd extends AttemptEvidence {
  /** Trailers; empty for a status made on this side. */
  readonly metadata: Metadata;
  /** 'ip:port' of the connection that carried it. */
  readonly peer: string | undefined;
  /** Identifies the connection: the same object for all attempts on it. `undefined` if the attempt had none. */
  readonly connection: object | undefined;
  /** What was thrown on this side, where that ended it. */
  readonly cause?: unknown;
}

/** A running attempt. */
export interface Attempt {
  /** Asks for the next message; at most one request is open at a time. */
  startRead(): void;
  /** Sends one message (bytes; with interceptors the message itself); `written` tells when the next may be sent. More than one in flight is silently lost by grpc-js. */
  send(message: unknown, written?: () => void): void;
  halfClose(): void;
  /** Ends it here and, always, on the wire. `onEnd` follows, unless it has ended already. */
  cancel(why: AttemptEvidence['endedHere'], code: number, details: string): void;
  /** Like `cancel`, for an owner who no longer listens: he has left, or its deadline has passed. */
  abandon(because?: 'deadline'): void;
  /** 'ip:port' once a connection was picked. */
  readonly peer: string | undefined;
}

/** Begins an attempt: the transport's own way, or one with stages before it. */
export type StartAttempt = (request: AttemptRequest, listener: AttemptListener) => Attempt;
