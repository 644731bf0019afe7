import type { MetadataInput } from '../../client/resilient-types.js';
import { toMetadata } from '../../channel/attempt/metadata-input.js';
import { GrpcCallError, type FailureReason, type ReachedServer } from '../../errors/grpc-call-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY, type StatusDetail } from '../../errors/status-details.js';
import { isStatusCode, StatusCode, type StatusName } from '../../status/status-code.js';

/** Optional properties of an error created by `grpcError`. */
export interface GrpcErrorOptions {
  /** Reason for the failure. @defaultValue 'server' */
  readonly reason?: FailureReason | undefined;
  /** Indicates whether the request may have reached the server's application. @defaultValue depends on the reason: 'yes' for 'server' */
  readonly reachedServer?: ReachedServer | undefined;
  /** Time after which a retry makes sense, in milliseconds. @defaultValue undefined */
  readonly retryAfterMs?: number | undefined;
  /** Trailers of the call. @defaultValue none */
  readonly metadata?: MetadataInput | undefined;
  /** Details of google.rpc.Status: google.rpc messages as objects, all others as bytes. @defaultValue none */
  readonly statusDetails?: readonly StatusDetail[] | undefined;
  /** The underlying error. @defaultValue none */
  readonly cause?: unknown;
}

/** Default `reachedServer` by reason: the furthest point that a call with one attempt and no response message may have reached. */
const DEFAULT_REACHED_SERVER: Readonly<Record<FailureReason, ReachedServer>> = {
  server: 'yes',
  http: 'maybe',
  overloaded: 'yes',
  protocol: 'yes',
  'connection-lost': 'maybe',
  deadline: 'maybe',
  'attempt-timeout': 'maybe',
  'stream-idle': 'maybe',
  cancelled: 'maybe',
  'inbound-cancelled': 'maybe',
  'requests-overflow': 'maybe',
  closed: 'maybe',
  draining: 'maybe',
  refused: 'no',
  outage: 'no',
  'too-many-waiting': 'no',
  'concurrency-limit': 'no',
  'circuit-open': 'no',
  'not-sent': 'no',
};

/**
 * Creates the error that this library's client reports for a failed call. Throw it in a handler of `fakeGrpcService`, or pass it to the
 * code under test.
 * @throws TypeError if the code, `reason`, `reachedServer`, `retryAfterMs`, or a status detail is invalid
 */
export function grpcError(
  code: Exclude<StatusName, 'OK'>,
  details: string = code,
  extra: GrpcErrorOptions = {},
): GrpcCallError {
  const number: unknown = StatusCode[code];
  if (!isStatusCode(number) || number === StatusCode.OK) {
    throw new TypeError(`grpcError: expected a status name such as 'NOT_FOUND', got ${JSON.stringify(code)}`);
  }
  const { reason = 'server', statusDetails = [], cause } = extra;
  const { reachedServer = DEFAULT_REACHED_SERVER[reason], retryAfterMs } = extra;
  if (!Object.hasOwn(DEFAULT_REACHED_SERVER, reason)) {
    throw unexpected('reason', `one of ${Object.keys(DEFAULT_REACHED_SERVER).join(', ')}`, reason);
  }
  if (!REACHED_SERVER_VALUES.includes(reachedServer)) {
    throw unexpected('reachedServer', `one of ${REACHED_SERVER_VALUES.join(', ')}`, reachedServer);
  }
  if (retryAfterMs !== undefined && !(Number.isFinite(retryAfterMs) && retryAfterMs >= 0)) {
    throw unexpected('retryAfterMs', 'a number of milliseconds, 0 or more', retryAfterMs);
  }
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

const REACHED_SERVER_VALUES: readonly ReachedServer[] = ['no', 'maybe', 'yes'];

function unexpected(option: string, expected: string, got: unknown): TypeError {
  return new TypeError(`grpcError: ${option}: expected ${expected}, got ${String(got)}`);
}

/** The client name of all fake services. */
export const FAKE_CLIENT = 'fake';
