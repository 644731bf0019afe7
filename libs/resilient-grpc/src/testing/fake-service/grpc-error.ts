import type { MetadataInput } from '../../client/resilient-types.js';
import { toMetadata } from '../../channel/attempt/metadata-input.js';
import { GrpcCallError, type FailureReason, type ReachedServer } from '../../errors/grpc-call-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY, type StatusDetail } from '../../errors/status-details.js';
import { isStatusCode, StatusCode, type StatusName } from '../../status/status-code.js';

/** What may be told of an error beside its code and text. */
export interface GrpcErrorExtra {
  /** Why the call failed. @defaultValue 'server' */
  readonly reason?: FailureReason | undefined;
  /** May the server's application have seen the request? @defaultValue what is usual for the reason: 'yes' for 'server' */
  readonly reachedServer?: ReachedServer | undefined;
  /** When trying again makes sense, in milliseconds. @defaultValue not known */
  readonly retryAfterMs?: number | undefined;
  /** Trailers. @defaultValue none */
  readonly metadata?: MetadataInput | undefined;
  /** Details of google.rpc.Status: those of google.rpc as objects, any other as bytes. @defaultValue none */
  readonly statusDetails?: readonly StatusDetail[] | undefined;
  /** What it was made from. @defaultValue none */
  readonly cause?: unknown;
}

/** How far the one attempt of a call without an answer has got at most, by the reason: what a caller must reckon with. */
const REACHED: Readonly<Record<FailureReason, ReachedServer>> = {
  server: 'yes',
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
 * The error that a call of our client fails with: for a handler of `fakeGrpcService` to throw, or to give to code under test by itself.
 * @throws TypeError for what is no name of an error's code, reason, `reachedServer` or time to wait
 */
export function grpcError(
  code: Exclude<StatusName, 'OK'>,
  details: string = code,
  extra: GrpcErrorExtra = {},
): GrpcCallError {
  const number: unknown = StatusCode[code];
  if (!isStatusCode(number) || number === StatusCode.OK) {
    throw new TypeError(`grpcError: expected the name of a status like 'NOT_FOUND', got ${JSON.stringify(code)}`);
  }
  const { reason = 'server', statusDetails = [], cause } = extra;
  const { reachedServer = REACHED[reason], retryAfterMs } = extra;
  if (!Object.hasOwn(REACHED, reason)) throw unexpected('reason', `one of ${Object.keys(REACHED).join(', ')}`, reason);
  if (!FAR.includes(reachedServer)) throw unexpected('reachedServer', `one of ${FAR.join(', ')}`, reachedServer);
  if (retryAfterMs !== undefined && !(Number.isFinite(retryAfterMs) && retryAfterMs >= 0)) {
    throw unexpected('retryAfterMs', 'milliseconds, 0 or more', retryAfterMs);
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

const FAR: readonly ReachedServer[] = ['no', 'maybe', 'yes'];

function unexpected(option: string, expected: string, got: unknown): TypeError {
  return new TypeError(`grpcError: ${option}: expected ${expected}, got ${String(got)}`);
}

/** Name of the client of all fakes. */
export const FAKE_CLIENT = 'fake';
