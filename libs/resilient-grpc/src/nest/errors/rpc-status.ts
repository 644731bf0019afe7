import type { Metadata } from '@grpc/grpc-js';
import { toMetadata } from '../../channel/attempt/metadata-input.js';
import { RETRY_INFO, typeNameOf } from '../../errors/error-detail-types.js';
import type { GrpcCallError } from '../../errors/grpc-call-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY, type StatusDetail } from '../../errors/status-details.js';
import { StatusCode, type StatusName } from '../../status/status-code.js';
import { inServersWords, isOfLeaving } from './call-error-of.js';

/** What the caller of a gRPC method, or of another transport, is told. */
export interface RpcStatus {
  readonly codeName: StatusName;
  /** Whether it is what the server said. */
  readonly isRelayed: boolean;
  /** Whether it has to be mended, here or there. */
  readonly isFault: boolean;
  readonly details: string;
  readonly retryAfterMs: number | undefined;
  /** Trailers of gRPC. */
  readonly metadata: Metadata;
}

const PUSHBACK_KEY = 'grpc-retry-pushback-ms';
const DEBUG_INFO = 'google.rpc.DebugInfo';
/** Bytes of details that are relayed, 4 096 in base64: with the rest of the trailers they stay below the 8 KiB that most of gRPC takes. */
const MAX_BYTES = 3_072;
/** Bytes of a text that is relayed, in the percent-encoding of its trailer, for the same reason. */
const MAX_TEXT = 2_048;

/** Faults: their texts are nobody's business, whatever is relayed. */
const FAULTS: ReadonlySet<StatusName> = new Set(['INTERNAL', 'UNKNOWN', 'DATA_LOSS']);
/** What is true of this service too while it is true of one that it needs: it is not there, has no time, or too much to do. */
const TRUE_HERE_TOO: ReadonlySet<StatusName> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED']);

/**
 * A service is no window into those it needs. What they say is relayed where `relay` names the code. Else the caller is told that it is
 * UNAVAILABLE, DEADLINE_EXCEEDED or RESOURCE_EXHAUSTED, which are true here too, and INTERNAL of all else: that an upstream knows no
 * such customer, or does not know this service, is no answer to what was asked of *this* one.
 */
export function rpcStatusOf(error: GrpcCallError, relay: ReadonlySet<StatusName>): RpcStatus {
  const { retryAfterMs } = error;
  const codeName = codeFor(error, relay);
  const isRelayed = relay.has(error.codeName) && inServersWords(error) && !FAULTS.has(codeName);
  const isTold = isRelayed && error.details !== '';
  const details = isTold ? cut(error.details) : `A call to another server failed: ${codeName}`;
  // When to come again holds for everyone, where the failure is the upstream's.
  const isFault = codeName !== error.codeName || FAULTS.has(codeName);
  const again = isFault ? undefined : retryAfterMs;
  const pushback = !isFault && inServersWords(error) ? pushbackOf(error) : undefined;
  const relayed = isTold ? error.statusDetails.filter(isForCallers) : [];
  return {
    codeName,
    isRelayed,
    isFault,
    details,
    retryAfterMs: again,
    metadata: toMetadata({
      [PUSHBACK_KEY]: pushback,
      [STATUS_DETAILS_KEY]: statusBin(codeName, details, relayed, again),
    }),
  };
}

function codeFor(error: GrpcCallError, relay: ReadonlySet<StatusName>): StatusName {
  const { codeName } = error;
  return relay.has(codeName) || TRUE_HERE_TOO.has(codeName) || isOfLeaving(error) ? codeName : 'INTERNAL';
}

/** Stacks are not; and when to come again is told anew, once. */
function isForCallers({ typeUrl }: StatusDetail): boolean {
  const name = typeNameOf(typeUrl);
  return name !== DEBUG_INFO && name !== RETRY_INFO;
}

function statusBin(
  codeName: StatusName,
  details: string,
  relayed: readonly StatusDetail[],
  retryAfterMs: number | undefined,
): Buffer | undefined {
  const again = retryAfterMs === undefined ? [] : [{ typeUrl: RETRY_INFO, value: { retryDelayMs: retryAfterMs } }];
  const encode = (all: readonly StatusDetail[]): Buffer | undefined =>
    all.length === 0 ? undefined : statusDetailsBin(StatusCode[codeName], details, all);
  try {
    const whole = encode([...relayed, ...again]);
    if (whole === undefined || whole.length <= MAX_BYTES) return whole;
  } catch {
    // Something that was not of its type's shape on its way here.
  }
  return encode(again);
}

/** Of the trailer only a number: it is all that gRPC has there. */
function pushbackOf({ metadata }: GrpcCallError): string | undefined {
  const [value, ...more] = metadata.get(PUSHBACK_KEY);
  return more.length === 0 && typeof value === 'string' && /^-?\d{1,10}$/.test(value) ? value : undefined;
}

function cut(text: string): string {
  let kept = '';
  let bytes = 0;
  for (const character of text) {
    // Half of a pair makes encodeURI throw, also where grpc-js writes the status.
    const whole = character.replace(/\p{Surrogate}/u, '\ufffd');
    bytes += encodeURI(whole).length;
    if (bytes > MAX_TEXT) return `${kept}...`;
    kept += whole;
  }
  return kept;
}
