import * as v from 'valibot';
import type { MetadataInput } from '../../client/resilient-types.js';
import { toMetadata } from '../../channel/attempt/metadata-input.js';
import { GrpcCallError, type FailureReason, type ReachedServer } from '../../errors/grpc-call-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY, type StatusDetail } from '../../errors/status-details.js';
import { reachedByStatus } from '../../policy/evidence/classify.js';
import { describeData, problemMessage } from '../../policy/options/describe-value.js';
import { choiceRemedy } from '../../policy/options/value-rules.js';
import { requireOptions } from '../../policy/options/option-problems.js';
import { object, oneOf } from '../../policy/options/option-schemas.js';
import { isStatusCode, STATUS_NAMES, StatusCode, type StatusName } from '../../status/status-code.js';

const FAILED_STATUS_NAMES = STATUS_NAMES.filter((name) => name !== 'OK');

/** Optional properties of an error created by `grpcError`. */
export interface GrpcErrorOptions {
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
 * Default `reachedServer` by reason: the usual value for a call with one attempt, without response headers or messages. Other values are
 * possible, for example 'maybe' for 'refused' after REFUSED_STREAM.
 */
const DEFAULT_REACHED_SERVER: Readonly<Record<FailureReason, ReachedServer>> = {
  // 'maybe' for some codes.
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

const MILLISECONDS = 'a number of milliseconds, 0 or more';

// toMetadata() checks `metadata`, and statusDetailsBin() checks `statusDetails`.
const optionsSchema = object(
  {
    // Safe cast: the keys are the reasons.
    reason: v.optional(oneOf(Object.keys(DEFAULT_REACHED_SERVER) as FailureReason[])),
    reachedServer: v.optional(oneOf(['no', 'maybe', 'yes'])),
    retryAfterMs: v.optional(v.pipe(v.number(MILLISECONDS), v.finite(MILLISECONDS), v.minValue(0, MILLISECONDS))),
    metadata: v.optional(v.unknown()),
    statusDetails: v.optional(v.unknown()),
    cause: v.optional(v.unknown()),
  },
  "options such as { reason: 'outage' }",
);

/**
 * Creates the error that this library's client reports for a failed call. Throw it in a handler of `fakeGrpcService`, or pass it to the
 * code under test. `details` defaults to the name of the code.
 * @throws TypeError if the code or a status detail is invalid
 * @throws Error if `metadata` contains a key or value that gRPC does not allow
 * @throws GrpcConfigurationError if another option is unknown or invalid
 */
export function grpcError(
  code: Exclude<StatusName, 'OK'>,
  details: string = code,
  extra: GrpcErrorOptions = {},
): GrpcCallError {
  const number: unknown = StatusCode[code];
  if (!isStatusCode(number) || number === StatusCode.OK) {
    const remedy = choiceRemedy(code, FAILED_STATUS_NAMES);
    throw new TypeError(
      `grpcError: ${problemMessage("a status name such as 'NOT_FOUND'", code, remedy, describeData)}`,
    );
  }
  requireOptions(optionsSchema, extra, 'grpcError');
  const { reason = 'server', statusDetails = [], cause } = extra;
  const usual = reason === 'server' ? reachedByStatus(number) : DEFAULT_REACHED_SERVER[reason];
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

/** The client name of all fake services. */
export const FAKE_CLIENT = 'fake';
