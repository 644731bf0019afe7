import { StatusCode } from '../../status/status-code.js';
import type { AttemptEvidence } from '../evidence/attempt-evidence.js';
import { hasResponseBegun } from '../evidence/classify.js';
import type { Verdict } from '../evidence/verdict.js';

/** Outcome of an attempt as evidence about its endpoint. 'none': the attempt is not evidence. */
export type EndpointOutcome = 'success' | 'failure' | 'none';

/**
 * HTTP statuses from a gateway that cannot reach its server (Envoy: gateway failures). 429 is excluded, because it reports a limit on the
 * caller.
 */
const GATEWAY_FAILURES: ReadonlySet<number | undefined> = new Set([502, 503, 504]);
/**
 * Minimum duration of a timed-out attempt that counts as a failure, as a multiple of the usual latency of the endpoints. The duration must
 * also be at least `MIN_TIMEOUT_MS`.
 */
const MIN_TIMEOUT_FACTOR = 3;
const MIN_TIMEOUT_MS = 100;
/** Minimum duration in milliseconds of a timed-out attempt that counts as a failure while the usual latency is unknown. */
const DEFAULT_MIN_TIMEOUT_MS = 1_000;

/**
 * Classifies an attempt as evidence about its endpoint. Envoy splits failures the same way: its `gateway_failure` and
 * `local_origin_failure` count; application errors do not. A status from the application, such as NOT_FOUND or INTERNAL, shows that the
 * endpoint responds.
 *
 * @param elapsedMs duration of the attempt
 * @param usualMs median latency of the endpoints; `undefined` if it is unknown
 */
export function endpointOutcome(
  verdict: Pick<Verdict, 'kind' | 'code' | 'reachedServer' | 'connectionLost'>,
  evidence: Pick<AttemptEvidence, 'wire' | 'headersReceived' | 'messagesReceived' | 'contentType'>,
  elapsedMs: number,
  usualMs: number | undefined,
): EndpointOutcome {
  const { wire } = evidence;
  switch (verdict.kind) {
    case 'ok':
    // Counts as a success, because ejecting an overloaded endpoint would overload the others.
    case 'overloaded':
      return 'success';
    case 'unsent':
    case 'local':
    case 'serialize':
    case 'cancelled':
    // The response may be invalid for this client only.
    case 'protocol':
    // A stream without messages is not a failure of the endpoint.
    case 'stream-idle':
      return 'none';
    case 'refused':
      // Calls that a GOAWAY rejected do not count against the endpoint.
      return verdict.reachedServer === 'no' ? 'none' : 'failure';
    case 'connection-lost':
      return lost(wire);
    case 'http':
      return GATEWAY_FAILURES.has(wire?.httpStatus) ? 'failure' : 'none';
    case 'committed':
      if (verdict.connectionLost) return lost(wire);
      return verdict.code === StatusCode.UNAVAILABLE ? 'failure' : 'success';
    case 'server':
      // The stream was reset without a response. Otherwise, a gRPC code arrived and determines the outcome below.
      if (wire?.httpStatus === undefined && evidence.contentType === undefined) return 'failure';
      if (verdict.code === StatusCode.DEADLINE_EXCEEDED) return timedOut(elapsedMs, usualMs);
      return verdict.code === StatusCode.UNAVAILABLE ? 'failure' : 'success';
    case 'deadline':
    case 'attempt-timeout':
      // If the response has started, the deadline or timeout is not a failure of the endpoint.
      return hasResponseBegun(evidence) ? 'none' : timedOut(elapsedMs, usualMs);
  }
}

/**
 * Outcome of an attempt that lost its connection or stream. If the connection accepts no more streams, its attempts do not count. Instead,
 * its end counts once if the server sent no GOAWAY.
 */
function lost(wire: AttemptEvidence['wire']): EndpointOutcome {
  return wire?.acceptsNoStreams === true ? 'none' : 'failure';
}

function timedOut(elapsedMs: number, usualMs: number | undefined): EndpointOutcome {
  const minTimeoutMs =
    usualMs === undefined ? DEFAULT_MIN_TIMEOUT_MS : Math.max(MIN_TIMEOUT_MS, usualMs * MIN_TIMEOUT_FACTOR);
  return elapsedMs >= minTimeoutMs ? 'failure' : 'none';
}
