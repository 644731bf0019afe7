import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { isStatusCode, StatusCode, statusName } from '../../status/status-code.js';
import type { LocalFailure } from './local-failure.js';
import { describeHttpResponse, isGrpcContentType, SHUTDOWN_STATUSES, TOO_LARGE_FOR_SERVER } from './grpc-js-texts.js';

/** Connection that an attempt lost, or that had received GOAWAY when the attempt ended. */
export interface LostConnection {
  readonly connection: object;
  /** True if the connection accepts no more streams: it closed, or the server sent GOAWAY. False if only the stream was reset. */
  readonly acceptsNoStreams: boolean;
}

/** Result of an attempt, classified by its evidence. */
export type VerdictKind =
  | 'ok'
  /** Nothing was sent: no connection was available, or the stream was still queued when its connection ended. */
  | 'unsent'
  /** The attempt failed locally, because of its metadata, its credentials, an interceptor, or the size of a request message. */
  | 'local'
  /**
   * The server's transport rejected the stream. `reachedServer` is 'no' if the last stream ID of a GOAWAY is lower than the ID of the
   * stream; 'maybe' if the stream was only reset with REFUSED_STREAM, which proxies also send for processed requests.
   */
  | 'refused'
  /** The connection or the attempt's stream was lost without a response from the server's application, whatever the code is. */
  | 'connection-lost'
  /** An HTTP response that is not gRPC, from a proxy or a gateway. */
  | 'http'
  /** The server sent only a status, without headers or messages. Also includes resets that no other kind covers, such as PROTOCOL_ERROR. */
  | 'server'
  /** An overloaded server refused the attempt before its handler ran. Set only by `verdictOf`. */
  | 'overloaded'
  /** The attempt failed after headers or messages had arrived. */
  | 'committed'
  | 'deadline'
  | 'attempt-timeout'
  | 'stream-idle'
  /** Cancelled by the caller, the parent call, an interceptor, or `close()`, or because another hedged attempt responded first. */
  | 'cancelled'
  /** The response was invalid: no message, a second message, an unreadable or oversized message, or an invalid status code. */
  | 'protocol'
  | 'serialize';

/** Classification of one attempt: its kind, how far it got, and the status for the caller. */
export interface Verdict {
  readonly kind: VerdictKind;
  readonly reachedServer: 'no' | 'maybe' | 'yes';
  readonly code: StatusCode;
  readonly details: string;
  /** True if the attempt received an HTTP response with a transient error: 429, 502, 503, or 504. */
  readonly retryableHttp: boolean;
  /** True if the connection or the attempt's stream was lost, before a response ('connection-lost') or during one ('committed'). */
  readonly connectionLost: boolean;
  /** Code that grpc-js reported for an attempt that lost its connection or stream; absent if that code is invalid. */
  readonly originalCode?: StatusCode;
  /** True if the server requested less load: it reset the stream with ENHANCE_YOUR_CALM and kept the connection. */
  readonly overloaded?: boolean;
  /** True if a single message arrived without trailers, on a connection that stays open. */
  readonly lacksTrailers?: boolean;
  /** True if the call credentials failed (kind 'local'). */
  readonly credentialsFailed?: boolean;
  /** True if a connection was available, although nothing was sent (kind 'unsent'). */
  readonly hadConnection?: boolean;
}

/** HTTP/2 evidence of one stream. A server cannot forge this evidence with a status message. */
export interface WireEvidence {
  /**
   * Reason why the server's application did not receive the stream. 'never-sent': its HEADERS frame was not sent. 'rejected': a GOAWAY had a
   * lower last stream ID (RFC 9113, section 6.8). `undefined`: the application may have received it.
   */
  readonly unprocessed: 'never-sent' | 'rejected' | undefined;
  /** `:status` of the response; `undefined` if neither headers nor trailers arrived. */
  readonly httpStatus: number | undefined;
  /** HTTP/2 error code of a stream that closed without a gRPC status; `undefined` if one arrived or if this side closed the stream. */
  readonly resetCode: number | undefined;
  /** True if the response ended properly, but without a gRPC status after its headers. */
  readonly lacksTrailers: boolean;
  /** True if this side reset the stream before the server ended it. */
  readonly closedHere: boolean;
  /** Error code of the GOAWAY that the server sent after the attempt started; `undefined` if it sent none. */
  readonly goawayCode: number | undefined;
  /** True if the connection accepts no more streams: it is closed, or the server sent GOAWAY. */
  readonly acceptsNoStreams: boolean;
  /** True if the peer refused the request because of the number of its header fields. */
  readonly hasTooManyFields?: boolean;
  /** True if this side refused the headers or trailers of the response because of their size. */
  readonly hasTooLargeHeaders?: boolean;
  /** True if the peer has reset a stream of the connection that was opened after another reset: it does not just close the connection. */
  readonly resetsStreams?: boolean;
  /** True if the connection ended because the peer no longer responded: TCP, a keepalive ping, or a probe timed out. */
  readonly timedOut: boolean;
}

/** Evidence of how an attempt ended and how far it got. Local flags take precedence over status messages, which a server could forge. */
export interface AttemptEvidence {
  /** Code as the transport reported it; may be an invalid status code (NaN, 99, or undefined for an unsupported encoding). */
  readonly code: number;
  readonly details: string;
  /** What the client observed; absent if the server sent the status, and if the client ended the attempt (`endedHere`). */
  readonly failure?: LocalFailure | undefined;
  /** True if a connection was picked. Bytes may then have been sent. */
  readonly picked: boolean;
  /** True if the channel was READY when the attempt ended. A failure without a picked connection is then usually local. */
  readonly channelReady: boolean;
  /**
   * Reason why this side ended the attempt; 'no' if it did not. 'not-prepared': the metadata function or an interceptor failed before
   * anything was sent.
   */
  readonly endedHere:
    | 'no'
    | 'not-prepared'
    | 'deadline'
    | 'attempt-timeout'
    | 'stream-idle'
    | 'cancel'
    | 'protocol'
    | 'serialize'
    | 'closed';
  /** HTTP/2 evidence from the attempt's stream; absent if it had no stream. */
  readonly wire?: WireEvidence | undefined;
  /** True if response headers arrived; a trailers-only response has none. */
  readonly headersReceived: boolean;
  readonly messagesReceived: number;
  /** True if the method has a response stream. @defaultValue false */
  readonly responseStream?: boolean;
  /** First `content-type` of the headers, or else of the trailers. A response with 'application/grpc…' is attributed to the server. */
  readonly contentType: string | undefined;
}

const { CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM } = HTTP2_ERROR_CODES;
/** Codes with which servers and proxies end streams when they close a connection. */
const CONNECTION_LOSS_CODES: ReadonlySet<number> = new Set([NO_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM]);

const TRANSIENT_HTTP_STATUSES: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Statuses that a proxy or a server that is shutting down may send for a call that the application has executed, or is executing. */
const IN_DOUBT: ReadonlySet<number> = new Set([
  StatusCode.CANCELLED,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.UNAVAILABLE,
]);

/** Start of the details if the connection was lost during the response. */
export const LOST_IN_RESPONSE = 'Connection lost after the response had started';
/** Details if a message arrived, but no trailers followed. */
const NO_TRAILERS = 'The response ended without trailers, so the result of the call is unknown';
/** Start of the details if the stream was reset during the response, and the connection stayed open. */
export const RESET_IN_RESPONSE = 'Stream reset after the response had started';

export const SUCCESS: Verdict = {
  kind: 'ok',
  reachedServer: 'yes',
  code: StatusCode.OK,
  details: '',
  retryableHttp: false,
  connectionLost: false,
};

/**
 * Classifies the end of an attempt. Connection evidence takes precedence over the code, because one cause surfaces as several codes: a
 * disconnect is reported as CANCELLED, INTERNAL, or UNAVAILABLE. A status message is used only where the server's is the only evidence: for the
 * statuses of a shutdown, together with a GOAWAY, and for requests above its limit.
 */
export function classify(e: AttemptEvidence): Verdict {
  if (e.code === StatusCode.OK && e.endedHere !== 'protocol' && e.endedHere !== 'serialize') return SUCCESS;
  if (e.endedHere !== 'no') return classifyLocalEnd(e);
  if (!e.picked) return classifyNotPicked(e);
  if (e.wire?.hasTooLargeHeaders === true) return verdict('protocol', 'yes', StatusCode.RESOURCE_EXHAUSTED, e.details);
  return hasResponseBegun(e) ? classifyWithResponse(e) : classifyWithoutResponse(e);
}

function classifyLocalEnd(e: AttemptEvidence): Verdict {
  switch (e.endedHere) {
    case 'not-prepared':
      return reportedVerdict('local', 'no', e);
    case 'deadline':
      return verdict('deadline', reachedServerOf(e), StatusCode.DEADLINE_EXCEEDED, e.details);
    case 'attempt-timeout':
      return verdict('attempt-timeout', reachedServerOf(e), StatusCode.DEADLINE_EXCEEDED, e.details);
    case 'stream-idle':
      return verdict('stream-idle', reachedServerOf(e), StatusCode.UNAVAILABLE, e.details);
    case 'protocol':
      // The message that could not be read was part of an HTTP response that is not gRPC, such as a web page.
      if (isHttp(e)) return { ...http(e), code: StatusCode.UNKNOWN };
      return verdict(
        'protocol',
        isGrpcResponse(e) ? 'yes' : reachedServerOf(e),
        failureCode(e, StatusCode.INTERNAL),
        e.details,
      );
    case 'serialize':
      return verdict('serialize', reachedServerOf(e), failureCode(e, StatusCode.INTERNAL), e.details);
    case 'closed':
      return cancelled(e, StatusCode.UNAVAILABLE);
    case 'cancel':
    case 'no':
      return cancelled(e, StatusCode.CANCELLED);
  }
}

function classifyNotPicked(e: AttemptEvidence): Verdict {
  if (e.failure === 'not-placed' || e.failure === 'not-started') return unsent(e);
  if (e.code === StatusCode.UNAVAILABLE && !e.channelReady) return unsent(e);
  if (e.code === StatusCode.CANCELLED) return cancelled(e, StatusCode.CANCELLED);
  if (e.failure === 'deadline') return verdict('deadline', 'no', StatusCode.DEADLINE_EXCEEDED, e.details);
  const local = reportedVerdict('local', 'no', e);
  return e.failure === 'credentials' ? { ...local, credentialsFailed: true } : local;
}

/** Classifies an attempt that had a connection and received headers or messages. */
function classifyWithResponse(e: AttemptEvidence): Verdict {
  if (isHttp(e)) return http(e);
  const { lacksTrailers = false, acceptsNoStreams = false } = e.wire ?? {};
  // HAProxy ends a response in the same way if it loses the server, but hardly ever between a single message and its trailers.
  if (lacksTrailers && !acceptsNoStreams && e.messagesReceived > 0 && e.responseStream !== true) {
    return { ...verdict('protocol', 'yes', failureCode(e, StatusCode.INTERNAL), NO_TRAILERS), lacksTrailers };
  }
  if (wasReset(e) || isDropped(e))
    return lost('committed', 'yes', isEnhanceYourCalm(e) ? RESET_IN_RESPONSE : LOST_IN_RESPONSE, e);
  if (e.failure === 'response-too-large') {
    const details = `${e.details}; raise maxReceiveMessageLength to accept it`;
    return verdict('protocol', 'yes', StatusCode.RESOURCE_EXHAUSTED, details);
  }
  return reportedVerdict('committed', 'yes', e);
}

/** Classifies an attempt that had a connection and received neither headers nor messages. */
function classifyWithoutResponse(e: AttemptEvidence): Verdict {
  if (e.wire?.unprocessed === 'never-sent') return unsent(e);
  if (e.wire?.unprocessed === 'rejected') {
    return verdict('refused', 'no', StatusCode.UNAVAILABLE, `Rejected by the server's GOAWAY ${formatStatus(e)}`);
  }
  if (responded(e)) {
    if (isShutdownStatus(e)) return lost('connection-lost', 'maybe', 'Server shut down before it responded', e);
    if (isGrpcResponse(e)) {
      // The server's transport rejects a request that is too large, and its handler does not run.
      const reached = TOO_LARGE_FOR_SERVER.test(e.details) ? 'maybe' : reachedByStatus(e.code);
      return reportedVerdict('server', reached, e);
    }
    // Without a content-type, the status is attributed to the server, although there is no proof.
    return isHttp(e) ? http(e) : reportedVerdict('server', 'maybe', e);
  }
  if (e.wire?.resetCode === REFUSED_STREAM) return verdict('refused', 'maybe', StatusCode.UNAVAILABLE, e.details);
  if (e.wire?.hasTooManyFields === true) return reportedVerdict('local', 'maybe', e);
  if (isEnhanceYourCalm(e)) {
    return { ...lost('connection-lost', 'maybe', 'Stream reset', e), connectionLost: false, overloaded: true };
  }
  // An UNAVAILABLE status without a response comes from the transport.
  if (wasReset(e) || e.code === StatusCode.UNAVAILABLE) {
    return lost('connection-lost', 'maybe', 'Connection lost after sending', e);
  }
  if (e.code === StatusCode.CANCELLED) return cancelled(e, StatusCode.CANCELLED);
  if (e.failure === 'deadline') return verdict('deadline', 'maybe', StatusCode.DEADLINE_EXCEEDED, e.details);
  // The message may belong to a request stream, so the server may have received the headers and earlier messages.
  if (e.failure === 'request-too-large') return reportedVerdict('local', 'maybe', e);
  if (e.failure === 'request-not-serializable') return reportedVerdict('serialize', 'maybe', e);
  // Other resets (RST_STREAM 1, 5, 13 …).
  return reportedVerdict('server', 'maybe', e);
}

/** True if a response arrived, from the server or from a proxy. */
function responded(e: AttemptEvidence): boolean {
  return e.wire?.httpStatus !== undefined || e.contentType !== undefined;
}

/** True if the stream closed without a gRPC status, and with a code that servers and proxies send when they close a connection. */
function wasReset(e: AttemptEvidence): boolean {
  const { resetCode, goawayCode } = e.wire ?? {};
  // A GOAWAY with an error ends all streams with its code.
  return resetCode !== undefined && (CONNECTION_LOSS_CODES.has(resetCode) || resetCode === goawayCode);
}

/** True if the peer reset the stream with ENHANCE_YOUR_CALM but kept its connection. */
function isEnhanceYourCalm({ wire }: AttemptEvidence): boolean {
  return wire?.resetCode === ENHANCE_YOUR_CALM && !wire.acceptsNoStreams;
}

/** True if the connection closed. */
function isDropped(e: AttemptEvidence): boolean {
  return e.failure === 'dropped' && e.wire?.acceptsNoStreams !== false;
}

/** True if the server's transport, not its application, sent the status because of a shutdown. */
function isShutdownStatus(e: AttemptEvidence): boolean {
  return e.wire?.goawayCode !== undefined && SHUTDOWN_STATUSES.has(`${String(e.code)} ${e.details}`);
}

/** True if the response has a content-type other than gRPC's, or has neither a content-type nor a gRPC status. */
function isHttp(e: AttemptEvidence): boolean {
  return e.contentType === undefined ? httpFailure(e) !== undefined : !isGrpcResponse(e);
}

/** Returns the HTTP status from which the attempt's status was derived; `undefined` if it was not. */
function httpFailure(e: AttemptEvidence): number | undefined {
  return e.failure === 'http' ? e.wire?.httpStatus : undefined;
}

function http(e: AttemptEvidence): Verdict {
  const details = describeHttpResponse(e.wire?.httpStatus ?? httpFailure(e), e.contentType);
  const retryableHttp = TRANSIENT_HTTP_STATUSES.has(httpFailure(e) ?? 200);
  return { ...verdict('http', 'maybe', failureCode(e, StatusCode.UNKNOWN), details), retryableHttp };
}

/**
 * True if the peer responded, so that there is one: with a status, or with any HTTP response. This does not show that the application received
 * the request. A single reset proves nothing: peers that close each connection reset its streams first.
 */
export function isAnswered(e: AttemptEvidence, verdict: Verdict): boolean {
  const { httpStatus, resetCode, resetsStreams = false } = e.wire ?? {};
  if (httpStatus !== undefined || (resetCode !== undefined && resetsStreams)) return true;
  return !verdict.connectionLost && (verdict.reachedServer === 'yes' || isGrpcResponse(e));
}

export function isGrpcResponse({ contentType }: Pick<AttemptEvidence, 'contentType'>): boolean {
  return contentType !== undefined && isGrpcContentType(contentType);
}

export function hasResponseBegun(e: Pick<AttemptEvidence, 'headersReceived' | 'messagesReceived'>): boolean {
  return e.headersReceived || e.messagesReceived > 0;
}

function reachedServerOf(e: AttemptEvidence): Verdict['reachedServer'] {
  if (hasResponseBegun(e)) return 'yes';
  return e.picked && e.wire?.unprocessed !== 'never-sent' ? 'maybe' : 'no';
}

/** Returns `reachedServer` of an attempt that ended with a gRPC status and no headers. */
export function reachedByStatus(code: number): Verdict['reachedServer'] {
  return IN_DOUBT.has(code) ? 'maybe' : 'yes';
}

function unsent(e: AttemptEvidence): Verdict {
  const unsent = verdict('unsent', 'no', StatusCode.UNAVAILABLE, e.details);
  return e.picked || e.failure === 'not-started' ? { ...unsent, hadConnection: true } : unsent;
}

// On grpc-js's transport, a call without a connection may still be sent, because grpc-js sends a call that is cancelled in the tick in which
// it started.
function cancelled(e: AttemptEvidence, code: StatusCode): Verdict {
  const unsentReach = e.wire?.unprocessed === 'never-sent' ? 'no' : 'maybe';
  return verdict('cancelled', hasResponseBegun(e) ? 'yes' : unsentReach, failureCode(e, code), e.details);
}

/** Returns the code of the attempt, or `otherwise` if it is not an error code. */
function failureCode(e: AttemptEvidence, otherwise: StatusCode): StatusCode {
  return isStatusCode(e.code) && e.code !== StatusCode.OK ? e.code : otherwise;
}

function lost(kind: VerdictKind, reachedServer: Verdict['reachedServer'], event: string, e: AttemptEvidence): Verdict {
  const details = `${event} ${formatStatus(e)}`;
  const failure = { ...verdict(kind, reachedServer, StatusCode.UNAVAILABLE, details), connectionLost: true };
  return isStatusCode(e.code) ? { ...failure, originalCode: e.code } : failure;
}

/** Formats the code and message that grpc-js reported, and the cause if grpc-js does not report it. */
function formatStatus(e: AttemptEvidence): string {
  let cause = '';
  if (e.wire?.lacksTrailers === true) cause = ': the response ended without trailers';
  else if (e.wire?.timedOut === true) cause = ': the server no longer responded';
  else if (e.wire?.goawayCode === ENHANCE_YOUR_CALM)
    cause = ': the server closed the connection because of too many keepalive pings or stream resets';
  return `(${statusName(e.code)}: ${e.details}${cause})`;
}

/** Returns a verdict with the reported code and details. An invalid status code is a protocol violation. */
function reportedVerdict(kind: VerdictKind, reachedServer: Verdict['reachedServer'], e: AttemptEvidence): Verdict {
  if (isStatusCode(e.code)) return verdict(kind, reachedServer, e.code, e.details);
  const details = `Received ${String(e.code)}, which is not a gRPC status code${e.details ? `: ${e.details}` : ''}`;
  return verdict('protocol', reachedServer, StatusCode.UNKNOWN, details);
}

function verdict(
  kind: VerdictKind,
  reachedServer: Verdict['reachedServer'],
  code: StatusCode,
  details: string,
): Verdict {
  return { kind, reachedServer, code, details, retryableHttp: false, connectionLost: false };
}
