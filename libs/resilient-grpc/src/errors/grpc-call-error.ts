import type { Metadata } from '@grpc/grpc-js';
import { StatusCode, statusName, type StatusName } from '../status/status-code.js';
import type { AttemptRecord } from './attempt-record.js';
import { hasStatusDetails, retryDelayOf, statusDetailsOf, type StatusDetail } from './status-details.js';

/** Why a call failed, beyond its status code. */
export type FailureReason =
  /** The server's own word. */
  | 'server'
  /** The connection that carried it ended without an answer. */
  | 'connection-lost'
  /** Refused by the server's transport; its application never saw it. */
  | 'refused'
  /** The channel stayed unusable beyond the outage grace. */
  | 'outage'
  | 'too-many-waiting'
  /** As many calls run and are queued as `maxConcurrentCalls` and `maxQueuedCalls` allow. */
  | 'concurrency-limit'
  /** Its method's circuit breaker refused the attempt. */
  | 'circuit-open'
  | 'deadline'
  /** One attempt took longer than `attemptTimeoutMs`, and there was no other. */
  | 'attempt-timeout'
  /** A response stream was silent for too long. */
  | 'stream-idle'
  | 'cancelled'
  /** The inbound call that it served was cancelled, or its HTTP client went away. */
  | 'inbound-cancelled'
  | 'draining'
  | 'closed'
  /** It could not be sent: size, serialization, metadata, credentials. */
  | 'not-sent'
  /** An Observable of request messages pushed more than `maxQueuedRequestBytes` while earlier ones still waited for the wire. */
  | 'requests-overflow'
  /** What came back is no valid gRPC answer. */
  | 'protocol';

/** May the server's application have seen the request? */
export type ReachedServer = 'no' | 'maybe' | 'yes';

/** What a `GrpcCallError` is made from. */
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
  readonly notRetriedBecause: string;
  /** The option that prevents the failure or allows the retry. Part of the message, not of `details`. */
  readonly remedy?: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly cause?: unknown;
}

const BRAND = Symbol.for('nestjs-resilient-grpc.GrpcCallError');

/**
 * Every failed call. `code`, `details` and `metadata` are the server's, unchanged, where it answered; `message` begins as
 * grpc-js's does ("14 UNAVAILABLE: …"), and ends with a remedy if an option of the client caused the failure. `cause` is what it was made from: the
 * transport's status, or the abort reason.
 */
export class GrpcCallError extends Error {
  override readonly name = 'GrpcCallError';
  readonly code: StatusCode;
  readonly details: string;
  /** Trailers. Not enumerable: errors end in logs, and metadata may hold secrets. */
  declare readonly metadata: Metadata;
  readonly client: string;
  readonly path: string;
  readonly peer: string | undefined;
  readonly reason: FailureReason;
  readonly reachedServer: ReachedServer;
  /** The latest attempts, at most 20. */
  readonly attempts: readonly AttemptRecord[];
  /** Why there was no further attempt. */
  readonly notRetriedBecause: string;
  /** When trying again makes sense, in milliseconds, where that is known (breaker, pushback, outage, RetryInfo). */
  readonly retryAfterMs: number | undefined;
  #details: readonly StatusDetail[] | undefined;

  /** @internal Made by a client; `grpcError` of `nestjs-resilient-grpc/testing` makes one for a test. */
  constructor(failure: GrpcCallFailure) {
    const remedy = failure.remedy === undefined ? '' : ` (${failure.remedy})`;
    super(
      `${String(failure.code)} ${statusName(failure.code)}: ${failure.details}${remedy}`,
      failure.cause === undefined ? undefined : { cause: failure.cause },
    );
    this.code = failure.code;
    this.details = failure.details;
    this.client = failure.client;
    this.path = failure.path;
    this.peer = failure.peer;
    this.reason = failure.reason;
    this.reachedServer = failure.reachedServer;
    this.attempts = failure.attempts;
    this.notRetriedBecause = failure.notRetriedBecause;
    Object.defineProperty(this, 'metadata', { value: failure.metadata, enumerable: false });
    this.retryAfterMs =
      failure.retryAfterMs ?? (hasStatusDetails(failure.metadata) ? retryDelayOf(this.statusDetails) : undefined);
    Object.defineProperty(this, BRAND, { value: true, enumerable: false });
  }

  /** By the brand: `@Catch(GrpcCallError)` catches the errors of another copy of this package, too. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return this === GrpcCallError ? isGrpcCallError(value) : Function.prototype[Symbol.hasInstance].call(this, value);
  }

  get codeName(): StatusName {
    return statusName(this.code);
  }

  /**
   * The details of google.rpc.Status that the server attached, in its order: read when they are asked for, decoded where the type
   * is one of google.rpc, bytes otherwise. Not in `toJSON()`, as they come from the trailers.
   */
  get statusDetails(): readonly StatusDetail[] {
    return (this.#details ??= statusDetailsOf(this.metadata));
  }

  /** All but the values of the metadata. */
  toJSON(): Readonly<Record<string, unknown>> {
    return {
      name: this.name,
      message: this.message,
      code: this.code,
      codeName: this.codeName,
      details: this.details,
      client: this.client,
      path: this.path,
      peer: this.peer,
      reason: this.reason,
      reachedServer: this.reachedServer,
      attempts: this.attempts,
      notRetriedBecause: this.notRetriedBecause,
      retryAfterMs: this.retryAfterMs,
    };
  }
}

/**
 * Whether `error` is a `GrpcCallError`, also of another copy of this package, and has one of `codes` (numbers or names) if any
 * are given.
 */
export function isGrpcCallError(
  error: unknown,
  ...codes: readonly (StatusCode | StatusName)[]
): error is GrpcCallError {
  if (!(error instanceof Error) || !(BRAND in error)) return false;
  // True: only the constructor above sets the brand.
  const { code } = error as unknown as GrpcCallError;
  return (
    codes.length === 0 || codes.some((wanted) => (typeof wanted === 'number' ? wanted : StatusCode[wanted]) === code)
  );
}
