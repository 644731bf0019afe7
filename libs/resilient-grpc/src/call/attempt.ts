import type { CallOptions, InterceptingCall, Interceptor, Metadata } from '@grpc/grpc-js';
import type { AttemptEvidence } from '../policy/evidence/classify.js';
import type { SendObstacle } from '../transport/http2/http2-stream.js';
import type { CallTelemetry } from './call-telemetry.js';
import type { MethodDescriptor } from './method.js';

export interface AttemptRequest {
  readonly method: MethodDescriptor;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Metadata to send. Several attempts may share the object, so the transport copies it before changing it. */
  readonly metadata: Metadata;
  /** Names and values of further metadata, in turn, which neither interceptors nor telemetry see; `undefined` for most calls. */
  readonly fields?: readonly string[] | undefined;
  /** Timeout of this attempt alone, which `metadata` sends as `grpc-timeout`, and the details of its end. The deadline is then Infinity. */
  readonly sentTimeout?: { readonly ms: number; readonly details: string } | undefined;
  /** grpc-js's own options for this call (host, parent, propagate_flags, credentials), forwarded unchanged. */
  readonly options: CallOptions | undefined;
  /** grpc-js's interceptors, outermost first. `undefined` if there are none; messages are then sent as bytes. */
  readonly interceptors: readonly Interceptor[] | undefined;
  /** Number of the attempt; 1 for the original one. */
  readonly number: number;
  /** True if another attempt may follow even if the server has received this one. */
  readonly mayRepeat: boolean;
  /**
   * Addresses of the endpoints that the call has tried. The transport picks an endpoint outside the list if one is READY, and adds the
   * address of the picked endpoint. `undefined` for most calls, to avoid an array per call.
   */
  readonly tried?: string[] | undefined;
  /** Maximum size of a response message in bytes. Applies in addition to the channel's own limit, but not if there are interceptors. */
  readonly maxReceiveBytes: number;
  readonly telemetry?: (Pick<CallTelemetry, 'attempt'> & Partial<CallTelemetry>) | undefined;
}

/** Headers of a response. Most calls end before anybody has looked at them. */
export interface ResponseHeaders {
  /** Created when somebody asks. */
  readonly metadata: Metadata;
  readonly contentType: string | undefined;
}

/**
 * `onHeaders` is called at most once, `onMessage` at most once per `startRead`, and `onEnd` once and last. No callback follows `abandon`.
 */
export interface AttemptListener {
  onHeaders(headers: ResponseHeaders): void;
  onMessage(message: unknown): void;
  onEnd(end: AttemptEnd): void;
}

export interface AttemptEnd extends AttemptEvidence {
  /** Trailers; empty if this side created the status. */
  readonly metadata: Metadata;
  /** 'ip:port' of the connection that carried the attempt; `undefined` if none was picked. */
  readonly peer: string | undefined;
  /** Identifies the connection: the same object for all attempts on it. `undefined` if the attempt had none. */
  readonly connection: object | undefined;
  /** Text for the error message: what the transport observed, and the remedy. Absent if the transport observed nothing. */
  readonly remedy?: string | undefined;
  /** Reason why no part of the attempt was sent, as in `Attempt`. */
  readonly unsentBecause?: string | undefined;
  /** Error thrown on this side, if it ended the attempt. */
  readonly cause?: unknown;
}

export interface Attempt {
  /** Requests the next message. At most one request may be pending. */
  startRead(): void;
  /**
   * Sends one message: bytes, or an `InterceptedMessage` if there are interceptors. `written` is called when the next message may be sent.
   * grpc-js silently drops a message that is sent earlier.
   */
  send(message: unknown, written?: () => void): void;
  halfClose(): void;
  /** Ends the attempt on this side and on the wire. `onEnd` follows if the attempt has not ended yet. */
  cancel(why: AttemptEvidence['endedHere'], code: number, details: string): void;
  /** Like `cancel`, but no callback follows. */
  abandon(because?: 'deadline'): void;
  /** 'ip:port' of the connection; `undefined` until one is picked. */
  readonly peer: string | undefined;
  /** Certificate of the server; absent until a connection is picked. */
  readonly authContext?: ReturnType<InterceptingCall['getAuthContext']> | undefined;
  /** What the requests wait for; absent if they do not wait, or if it is unknown. */
  readonly obstacle?: SendObstacle | undefined;
  /**
   * Reason why no part of the attempt has been sent, such as 'waiting for an interceptor'. Nothing is sent later if the attempt is
   * abandoned before the next microtask. `undefined` if something may have been sent.
   */
  readonly unsentBecause?: string | undefined;
}

export type StartAttempt = (request: AttemptRequest, listener: AttemptListener) => Attempt;
