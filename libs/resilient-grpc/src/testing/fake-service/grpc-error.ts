import type { MetadataInput } from '../../client/resilient-types.js';
import { isMetadataLike } from '../../channel/wire/call-metadata.js';
import { toMetadata } from '../../channel/wire/metadata-input.js';
import {
  GrpcCallError,
  isGrpcCallError,
  type FailureReason,
  type ReachedServer,
} from '../../errors/grpc-call-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY, type StatusDetail } from '../../errors/status-details.js';
import { reachedByStatus } from '../../policy/evidence/classify.js';
import { isStatusCode, statusName, StatusCode, type StatusName } from '../../status/status-code.js';

export const FAKE_CLIENT = 'fake';

type FailedStatusName = Exclude<StatusName, 'OK'>;

interface GrpcErrorOptions {
  /** Reason for the failure. @defaultValue 'server' */
  readonly reason?: FailureReason | undefined;
  /**
   * Certainty that the request reached the server's application.
   * @defaultValue depends on the reason; for 'server', 'maybe' if the code is UNAVAILABLE, DEADLINE_EXCEEDED, or CANCELLED, otherwise 'yes'
   */
  readonly reachedServer?: ReachedServer | undefined;
  /** Time in milliseconds, 0 or more, after which the caller may retry. @defaultValue none */
  readonly retryAfterMs?: number | undefined;
  /** Trailers of the call. @defaultValue none */
  readonly metadata?: MetadataInput | undefined;
  /** Details of google.rpc.Status: google.rpc messages as objects, all others as bytes. @defaultValue none */
  readonly statusDetails?: readonly StatusDetail[] | undefined;
  /** The underlying error. @defaultValue none */
  readonly cause?: unknown;
}

/**
 * Reasons of calls that usually did not reach the server, and of those that did: for a call with one attempt, without response headers or
 * messages. Other values are possible, for example 'maybe' for 'refused' after REFUSED_STREAM.
 */
const UNREACHED: readonly FailureReason[] = [
  'refused',
  'outage',
  'too-many-waiting',
  'concurrency-limit',
  'circuit-open',
  'not-sent',
];
const REACHED: readonly FailureReason[] = ['overloaded', 'protocol', 'trailers-missing'];

/**
 * Creates the error that this library's client reports for a failed call. Throw it in a handler of `fakeGrpcService`, or pass it to the
 * code under test. `details` defaults to the name of the code.
 * @throws TypeError if a status detail is invalid
 * @throws Error if `metadata` contains a key or value that gRPC does not allow
 */
export function grpcError(code: FailedStatusName, details: string = code, extra: GrpcErrorOptions = {}): GrpcCallError {
  const number = StatusCode[code];
  const { reason = 'server', statusDetails = [], cause } = extra;
  const byReason = UNREACHED.includes(reason) ? 'no' : REACHED.includes(reason) ? 'yes' : 'maybe';
  const usual = reason === 'server' ? reachedByStatus(number) : byReason;
  const { reachedServer = usual, retryAfterMs } = extra;
  const metadata = toMetadata(extra.metadata ?? {});
  if (statusDetails.length > 0) metadata.set(STATUS_DETAILS_KEY, statusDetailsBin(number, details, statusDetails));
  return new GrpcCallError({
    code: number,
    details,
    metadata,
    client: FAKE_CLIENT,
    path: '',
    peer: undefined,
    reason,
    reachedServer,
    attempts: [],
    notRetriedBecause: reason,
    retryAfterMs,
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * Converts a value thrown by a handler into the error of a call. A `GrpcCallError` is returned unchanged. Anything else becomes the status
 * that a grpc-js server would send: its `code` and `details` (or message), or UNKNOWN and its message if it has no error code. The
 * metadata is kept in both cases.
 */
export function toCallError(thrown: unknown): GrpcCallError {
  if (isGrpcCallError(thrown)) return thrown;
  const { code, details, message, metadata } = propertiesOf(thrown);
  const isCode = isStatusCode(code) && code !== StatusCode.OK;
  const text = nonEmptyString(isCode ? (details ?? message) : message) ?? nonEmptyString(thrown) ?? 'Unknown Error';
  // Safe cast: OK was ruled out above.
  const name = (isCode ? statusName(code) : 'UNKNOWN') as FailedStatusName;
  return grpcError(name, text, {
    cause: thrown,
    ...(isMetadataLike(metadata) ? { metadata } : {}),
  });
}

function propertiesOf(thrown: unknown): Readonly<Record<string, unknown>> {
  // Safe cast: the values are `unknown` and are checked before use.
  return typeof thrown === 'object' && thrown !== null ? (thrown as Record<string, unknown>) : {};
}

function nonEmptyString(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
