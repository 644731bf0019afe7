import type { Metadata } from '@grpc/grpc-js';
import { StatusCode, statusName, type StatusName } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';
import { retryDelayOf, statusDetailsOf, type StatusDetail } from './status-details.js';

/** Reason why a failed attempt is not followed by another one. A minor version may add reasons; handle unknown ones in a default branch. */
export type RetryRefusal =
  /** Part of the response had arrived. */
  | 'committed'
  /** The status code is not listed in the retry or hedging policy of the method, or, if the method has neither, in the default retry policy. */
  | 'fatal-status'
  /** The method is not declared safe to repeat, and the server may have received the request. */
  | 'not-safe-to-repeat'
  /** The server's pushback forbids a retry, or the server refused the call because of an overload. */
  | 'pushback'
  /** The retry budget of the client is used up. */
  | 'throttled'
  /** The call has made `maxAttempts` attempts, or has waited for the channel 10 times without being sent. */
  | 'attempts-exhausted'
  /** The deadline has passed, or would pass before the next attempt. */
  | 'deadline'
  /** The call serves an inbound retry, and the server may have received the request. Retries of both layers would multiply. */
  | 'retry-chain'
  /** The caller or an interceptor cancelled the call, or the inbound call in its option `parent` was cancelled. */
  | 'cancelled'
  /** The client is shutting down. */
  | 'draining'
  /** The caller set `retry: false`. */
  | 'disabled'
  /** The failure occurred in the client and would recur. Its cause is the options, a message, metadata, credentials, or an interceptor. */
  | 'local'
  /** The request does not fit in the retry buffers, or a message of a request stream becomes serializable only in a grpc-js interceptor. */
  | 'request-not-replayable'
  /** The response is not valid gRPC, or exceeds `maxReceiveMessageLength`. Another attempt would receive the same response. */
  | 'protocol'
  /** The hedge budget of the client is used up. */
  | 'hedge-budget'
  /** See `reason`. */
  | 'in-doubt';

/** Record of one ended attempt of a call, for results, errors, and events. */
export interface AttemptRecord {
  readonly number: number;
  readonly code: StatusCode;
  readonly details: string;
  readonly peer?: string;
  readonly durationMs: number;
  /** True if the call was hedged and another attempt determined the result of the call. */
  readonly superseded: boolean;
}

/** Reason why a call failed, in addition to its status code. A minor version may add reasons; handle unknown ones in a default branch. */
export type FailureReason =
  /** A status from the server, or from a proxy. */
  | 'server'
  /** An HTTP response that is not gRPC, from a proxy or web server. `code` is derived from the HTTP status. */
  | 'http'
  /** The server refused the call because of an overload, before the handler ran. The call is not retried. */
  | 'overloaded'
  /** The connection or the stream of the call was lost before the server sent a status. `reachedServer` is 'no' if nothing was sent. */
  | 'connection-lost'
  /**
   * The response message arrived, but its gRPC status did not, and the connection stays open: a proxy or tunnel drops HTTP/2 trailers. Not
   * retried.
   */
  | 'trailers-missing'
  /** The server's transport rejected the stream. `reachedServer` is 'no' after a GOAWAY, 'maybe' after REFUSED_STREAM. */
  | 'refused'
  /** No connection was available, and the call did not wait, or waited until the outage grace period ended. */
  | 'outage'
  /** Too many calls, or calls with too many request bytes, were waiting for the channel. */
  | 'too-many-waiting'
  /** `maxConcurrentCalls` and its queue were reached. */
  | 'concurrency-limit'
  /** The circuit breaker of the method rejected the attempt. */
  | 'circuit-open'
  | 'deadline'
  /** An attempt took longer than `attemptTimeoutMs`, and no further attempt followed. */
  | 'attempt-timeout'
  /** A response stream received no message within `streamIdleTimeoutMs`. */
  | 'stream-idle'
  | 'cancelled'
  /** The inbound gRPC call that this call served was cancelled, or the client of the inbound HTTP request disconnected. */
  | 'inbound-cancelled'
  | 'draining'
  | 'closed'
  /**
   * The call could not be sent, because of invalid options or metadata, a message that is too large or cannot be serialized, failed
   * credentials, or a failed interceptor.
   */
  | 'not-sent'
  /** An Observable emitted request messages faster than they could be sent, and was 16 MiB ahead. */
  | 'requests-overflow'
  /** The response is not valid gRPC, or exceeds `maxReceiveMessageLength`. */
  | 'protocol'
  /** The server, or what remains of it, does not know whether a write with a key was done. Ask, or look; see docs/guides/writes.md. */
  | 'in-doubt';

/**
 * Reason why no further attempt was made. Equals the `reason` of the failure if no retry decision was made, for example because an outage
 * outlasted the grace period. A minor version may add reasons; handle unknown ones in a default branch.
 */
export type NotRetriedReason = RetryRefusal | FailureReason;

/**
 * Certainty that the server's application received the request. UNAVAILABLE, DEADLINE_EXCEEDED, and CANCELLED without response headers are
 * 'maybe', because proxies send them, too. Future versions will not add a value.
 */
export type ReachedServer = 'no' | 'maybe' | 'yes';

export interface GrpcCallFailure {
  readonly code: StatusCode;
  readonly details: string;
  readonly metadata: Metadata;
  readonly client: string;
  readonly path: string;
  readonly peer: string | undefined;
  readonly reason: FailureReason;
  readonly reachedServer: ReachedServer;
  readonly attempts: readonly AttemptRecord[];
  readonly notRetriedBecause: NotRetriedReason;
  /**
   * Remedy for the failure, such as the option that prevents it or allows the retry, or a doctor command. Part of the message, not of
   * `details`.
   */
  readonly remedy?: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** Key of the call, and the store that its latest attempt named; absent if it had none. */
  readonly onceKey?: string | undefined;
  readonly onceScope?: string | undefined;
  readonly cause?: unknown;
}

/**
 * Error of every failed call. `code`, `details`, and `metadata` are the server's, unchanged, if `reason` is 'server'. `message` begins
 * like grpc-js's ("14 UNAVAILABLE: …") and ends with a remedy if one is known. `String(error)` adds the path and the client. `cause`, if
 * present, is the original status of the last failed attempt, the abort reason, or the error that prevented the call.
 */
export class GrpcCallError extends Error {
  override readonly name = 'GrpcCallError';
  readonly code: Exclude<StatusCode, 0>;
  readonly details: string;
  /** Trailers. Not enumerable, because errors are logged and metadata may contain secrets. */
  declare readonly metadata: Metadata;
  readonly client: string;
  readonly path: string;
  readonly peer: string | undefined;
  readonly reason: FailureReason;
  /**
   * Highest certainty of all attempts: 'no' only if no attempt can have reached the server's application. 'yes' does not mean that nothing
   * was done: only a code that rejects the request, such as INVALID_ARGUMENT or NOT_FOUND, means that.
   */
  readonly reachedServer: ReachedServer;
  /** The latest attempts, at most 20, oldest first. */
  readonly attempts: readonly AttemptRecord[];
  readonly notRetriedBecause: NotRetriedReason;
  /** Milliseconds until a retry makes sense; `undefined` if unknown. Set by a circuit breaker, a pushback, an outage, or a RetryInfo. */
  readonly retryAfterMs: number | undefined;
  /**
   * Key of the call, with which `client.outcome()` tells what became of it; `undefined` if the call had none. Not enumerable, because errors are
   * logged, and keys from requests may be personal data.
   */
  declare readonly onceKey: string | undefined;
  /** The store in which the server keeps the key, for `client.outcome()`; `undefined` if no attempt has named one. Not enumerable. */
  declare readonly onceScope: string | undefined;
  #details: readonly StatusDetail[] | undefined;

  /** @internal Created by a client. In tests, use `grpcError` from `nestjs-resilient-grpc/testing`. */
  constructor(failure: GrpcCallFailure) {
    const remedy = failure.remedy === undefined ? '' : ` (${failure.remedy})`;
    super(
      `${String(failure.code)} ${statusName(failure.code)}: ${failure.details}${remedy}`,
      failure.cause === undefined ? undefined : { cause: failure.cause },
    );
    // The cast is safe: no call fails with OK.
    this.code = failure.code as Exclude<StatusCode, 0>;
    this.details = failure.details;
    this.client = failure.client;
    this.path = failure.path;
    this.peer = failure.peer;
    this.reason = failure.reason;
    this.reachedServer = failure.reachedServer;
    this.attempts = failure.attempts;
    this.notRetriedBecause = failure.notRetriedBecause;
    Object.defineProperty(this, 'metadata', { value: failure.metadata, enumerable: false });
    // Most calls have no key.
    if (failure.onceKey !== undefined) {
      Object.defineProperty(this, 'onceKey', { value: failure.onceKey, enumerable: false });
      Object.defineProperty(this, 'onceScope', { value: failure.onceScope, enumerable: false });
    }
    this.retryAfterMs = failure.retryAfterMs ?? retryDelayOf(failure.metadata);
  }

  get codeName(): Exclude<StatusName, 'OK'> {
    // The cast is safe: `code` is not OK.
    return statusName(this.code) as Exclude<StatusName, 'OK'>;
  }

  /**
   * Details of the google.rpc.Status that the server attached, in the server's order. Valid details with a standard google.rpc type are
   * decoded once, up to 5,000 fields in all; all other details are bytes. `toJSON()` omits the details, because they come from the
   * trailers, which may contain secrets.
   */
  get statusDetails(): readonly StatusDetail[] {
    return (this.#details ??= statusDetailsOf(this.metadata));
  }

  /**
   * Returns the name, the message, the path, and the client, for logs that contain only a string. Like grpc-js's, the message itself
   * contains neither the path nor the client.
   */
  override toString(): string {
    const call = this.path === '' ? '' : ` [call ${this.path} of client '${this.client}']`;
    return `${this.name}: ${this.message}${call}`;
  }

  /** Returns the properties for JSON, without the metadata, the status details, the cause, and the stack. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { name, message, code, codeName, ...others } = this;
    return { name, message, code, codeName, ...others };
  }
}

defineLibraryError(GrpcCallError, 'GrpcCallError');

/**
 * True if `error` is a `GrpcCallError`, including one from another copy of this package, and has one of `codes` (numbers or names) if
 * any are passed.
 */
export function isGrpcCallError(
  error: unknown,
  ...codes: readonly (StatusCode | StatusName)[]
): error is GrpcCallError {
  if (!(error instanceof GrpcCallError)) return false;
  const { code } = error;
  return (
    codes.length === 0 ||
    codes.some((expected) => (typeof expected === 'number' ? expected : StatusCode[expected]) === code)
  );
}
