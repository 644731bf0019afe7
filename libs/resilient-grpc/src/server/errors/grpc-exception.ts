import { randomUUID } from 'node:crypto';
import type { Metadata } from '@grpc/grpc-js';
import { RpcException } from '@nestjs/microservices';
import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/wire/call-metadata.js';
import { metadataEntryProblem, toMetadata } from '../../channel/wire/metadata-input.js';
import type { MetadataInput } from '../../client/resilient-types.js';
import { RETRY_INFO, STATUS_DETAILS_KEY, type StatusDetail } from '../../errors/status-details.js';
import { defineLibraryError } from '../../errors/library-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { problemMessage } from '../../policy/options/describe-value.js';
import { ONCE_MARK } from '../../policy/once/once-fields.js';
import { PUSHBACK_KEY } from '../../policy/pushback/parse-pushback.js';
import { isStatusCode, StatusCode, type StatusName } from '../../status/status-code.js';
import { wellFormed } from './status-text.js';

export interface GrpcExceptionOptions {
  /**
   * Machine-readable details of google.rpc.Status; the client of this library provides them as `statusDetails` of the error. Pass
   * google.rpc messages as objects, and others as bytes.
   * @defaultValue none
   */
  readonly statusDetails?: readonly StatusDetail[] | undefined;
  /** Trailing metadata. @defaultValue none */
  readonly metadata?: MetadataInput | undefined;
  /**
   * Time in milliseconds, 0 or more, after which the caller may retry. Sent as a `google.rpc.RetryInfo` after the other details.
   * @defaultValue none
   */
  readonly retryAfterMs?: number | undefined;
  /**
   * True if an `@Once()` handler has had no effect and can run again: its key is released, and a client of this library repeats the call if its
   * retry policy lists the code. Every other end of the handler, errors too, is kept. Sent as a trailer, which an exception filter must keep.
   * @defaultValue false
   */
  readonly nothingDone?: boolean | undefined;
  /** Cause of the exception. Never sent. @defaultValue none */
  readonly cause?: unknown;
}

/**
 * Mark of an exception of this process whose handler has done nothing. Not the one that callers get, because handlers forward the trailers of
 * calls that they make.
 */
export const NOTHING_DONE = `nothing-done ${randomUUID()}`;

/** Error from which grpc-js creates a status. */
export interface GrpcExceptionError {
  readonly code: StatusCode;
  readonly details: string;
  readonly message: string;
  readonly metadata: Metadata;
}

/**
 * Exception that a handler throws to end its call with a gRPC status. Nest's filters treat it like any RpcException. In a
 * `@GrpcStreamCall`, it can be passed to grpc-js directly.
 */
export class GrpcException extends RpcException {
  override readonly name = 'GrpcException';
  readonly code: StatusCode;
  /** Status message, under the name that grpc-js uses. */
  readonly details: string;
  /** `statusDetails` of the options, followed by the `google.rpc.RetryInfo` for `retryAfterMs`. */
  readonly statusDetails: readonly StatusDetail[];
  /** Trailing metadata. Not enumerable, because errors are logged and metadata may contain secrets. */
  declare readonly metadata: Metadata;

  /**
   * @throws TypeError if `code` is not an error code, or if the status details, metadata, or `retryAfterMs` cannot be sent
   */
  constructor(
    code: Exclude<StatusName, 'OK'> | Exclude<StatusCode, 0>,
    message: string,
    options: GrpcExceptionOptions = {},
  ) {
    const checkedCode = errorCodeOf(code);
    const text = wellFormed(message);
    super(text);
    this.code = checkedCode;
    this.details = text;
    const { statusDetails = [], retryAfterMs } = options;
    this.statusDetails = retryAfterMs === undefined ? statusDetails : [...statusDetails, retryInfo(retryAfterMs)];
    const metadata = trailersOf(options.metadata);
    if (this.statusDetails.length > 0) {
      metadata.set(STATUS_DETAILS_KEY, statusDetailsBin(this.code, text, this.statusDetails));
    }
    if (options.nothingDone === true) metadata.set(ONCE_MARK, NOTHING_DONE);
    Object.defineProperty(this, 'metadata', { value: metadata });
    if (options.cause !== undefined) Object.defineProperty(this, 'cause', { value: options.cause });
  }

  override getError(): GrpcExceptionError {
    const { code, details, message, metadata } = this;
    return { code, details, message, metadata };
  }
}

defineLibraryError(GrpcException, 'GrpcException');

function errorCodeOf(code: unknown): StatusCode {
  const found: unknown = typeof code === 'string' ? Reflect.get(StatusCode, code) : code;
  if (isStatusCode(found) && found !== StatusCode.OK) return found;
  throw new TypeError(`code: ${problemMessage("a status name such as 'NOT_FOUND', or a number from 1 to 16", code)}`);
}

function retryInfo(retryAfterMs: number): StatusDetail {
  if (!(retryAfterMs >= 0)) {
    throw new TypeError(`retryAfterMs: expected a number of milliseconds, 0 or more, got ${String(retryAfterMs)}`);
  }
  return { typeUrl: RETRY_INFO, value: { retryDelayMs: retryAfterMs } };
}

function trailersOf(input: MetadataInput = {}): Metadata {
  if (isMetadataLike(input)) return joinMetadata(NO_METADATA, input);
  for (const [key, value] of Object.entries(input)) {
    // The only reserved gRPC trailer that a handler may set.
    if (value === undefined || key === PUSHBACK_KEY) continue;
    const problem = metadataEntryProblem(key, value);
    if (problem !== undefined) throw new TypeError(`metadata["${key}"]: ${problem}`);
  }
  return toMetadata(input);
}
