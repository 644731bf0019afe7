import { isStatusCode, StatusCode, statusName } from '../../status/status-code.js';
import type { AttemptEvidence } from './attempt-evidence.js';
import * as text from './grpc-js-texts.js';
import type { Verdict, VerdictKind } from './verdict.js';

// HTTP/2 error codes (RFC 9113, section 7).
const REFUSED_STREAM = 7;
const ENHANCE_YOUR_CALM = 11;
/** NO_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM. */
const LOST: ReadonlySet<number> = new Set([0, 2, 8, ENHANCE_YOUR_CALM]);

/** HTTP statuses of a gateway or a proxy that may pass. */
const PASSING_HTTP: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** The verdict on every attempt that succeeded. */
export const SUCCESS: Verdict = {
  kind: 'ok',
  reachedServer: 'yes',
  code: StatusCode.OK,
  details: '',
  retryableHttp: false,
  connectionLost: false,
};

/**
 * Judges how an attempt ended. What the connection shows decides first, then the code, because one cause surfaces as several codes: a
 * server that disconnects is CANCELLED, INTERNAL or UNAVAILABLE. A text decides only if no response came, so that grpc-js made it, or
 * together with what the connection shows.
 */
export function classify(e: AttemptEvidence): Verdict {
  if (e.code === StatusCode.OK && e.endedHere !== 'protocol' && e.endedHere !== 'serialize') return SUCCESS;
  if (e.endedHere !== 'no') return endedHere(e);
  if (!e.picked) return notPicked(e);
  return answerBegan(e) ? afterAnswerBegan(e) : withoutAnswer(e);
}

function endedHere(e: AttemptEvidence): Verdict {
  switch (e.endedHere) {
    case 'deadline':
      return verdict('deadline', farAsKnown(e), StatusCode.DEADLINE_EXCEEDED, e.details);
    case 'attempt-timeout':
      return verdict('attempt-timeout', farAsKnown(e), StatusCode.DEADLINE_EXCEEDED, e.details);
    case 'stream-idle':
      return verdict('stream-idle', farAsKnown(e), StatusCode.UNAVAILABLE, e.details);
    case 'protocol':
      return verdict('protocol', spokeGrpc(e) ? 'yes' : farAsKnown(e), failureCode(e, StatusCode.INTERNAL), e.details);
    case 'serialize':
      return verdict('serialize', farAsKnown(e), failureCode(e, StatusCode.INTERNAL), e.details);
    case 'closed':
      return cancelled(e, StatusCode.UNAVAILABLE);
    case 'cancel':
    case 'no':
      return cancelled(e, StatusCode.CANCELLED);
  }
}

function notPicked(e: AttemptEvidence): Verdict {
  // The channel may be READY again between a pick that failed and its status.
  if (e.code === StatusCode.UNAVAILABLE && (!e.channelReady || text.NOT_PICKED.test(e.details))) return unsent(e);
  if (e.code === StatusCode.INTERNAL && text.NOT_STARTED.test(e.details)) return unsent(e);
  if (e.code === StatusCode.CANCELLED) return cancelled(e, StatusCode.CANCELLED);
  if (isLocalDeadline(e)) return verdict('deadline', 'no', StatusCode.DEADLINE_EXCEEDED, e.details);
  return said('local', 'no', e);
}

/** Picked, and headers or messages came. */
function afterAnswerBegan(e: AttemptEvidence): Verdict {
  if (isHttp(e)) return http(e);
  if (wasReset(e) || isDropped(e)) return lost('committed', 'yes', 'Connection lost after the answer had begun', e);
  if (isResponseTooLarge(e)) {
    const details = `${e.details}; raise maxReceiveMessageLength to accept it`;
    return verdict('protocol', 'yes', StatusCode.RESOURCE_EXHAUSTED, details);
  }
  return said('committed', 'yes', e);
}

/** Picked, and neither headers nor messages came. */
function withoutAnswer(e: AttemptEvidence): Verdict {
  if (e.wire?.unprocessed === 'never-sent') return unsent(e);
  if (e.wire?.unprocessed === 'rejected') {
    return verdict('refused', 'no', StatusCode.UNAVAILABLE, `Rejected by the server's GOAWAY ${received(e)}`);
  }
  if (responded(e)) {
    if (isShutdownStatus(e)) return lost('connection-lost', 'maybe', 'Server shut down before it answered', e);
    if (spokeGrpc(e)) return said('server', 'yes', e);
    // A server that names no content-type: its status, though nothing proves it.
    return isHttp(e) ? http(e) : said('server', 'maybe', e);
  }
  if (e.wire?.resetCode === REFUSED_STREAM) return verdict('refused', 'maybe', StatusCode.UNAVAILABLE, e.details);
  if (e.wire?.resetCode === ENHANCE_YOUR_CALM && !e.wire.connectionOver) {
    return { ...lost('connection-lost', 'maybe', 'Stream reset', e), connectionLost: false, overloaded: true };
  }
  // Whatever is UNAVAILABLE without a response was made by the transport.
  if (wasReset(e) || e.code === StatusCode.UNAVAILABLE) {
    return lost('connection-lost', 'maybe', 'Connection lost after sending', e);
  }
  if (e.code === StatusCode.CANCELLED) return cancelled(e, StatusCode.CANCELLED);
  if (isLocalDeadline(e)) return verdict('deadline', 'maybe', StatusCode.DEADLINE_EXCEEDED, e.details);
  // A later message of a request stream: earlier ones may have arrived.
  if (text.REQUEST_TOO_LARGE.test(e.details)) return said('local', 'maybe', e);
  if (text.REQUEST_NOT_SERIALIZABLE.test(e.details)) return said('serialize', 'maybe', e);
  // Other resets (RST_STREAM 1, 5, 13 …).
  return said('server', 'maybe', e);
}

/** A response came: its server wrote the code and the text. */
function responded(e: AttemptEvidence): boolean {
  return e.wire?.httpStatus !== undefined || e.contentType !== undefined;
}

/** The stream closed without a status, in one of the ways in which servers and proxies that close a connection end its streams. */
function wasReset(e: AttemptEvidence): boolean {
  const { resetCode, goawayCode } = e.wire ?? {};
  // A GOAWAY with an error ends all streams with its code.
  return resetCode !== undefined && (LOST.has(resetCode) || resetCode === goawayCode);
}

/** The connection closed, and grpc-js reports it without a reset code. */
function isDropped(e: AttemptEvidence): boolean {
  return e.code === StatusCode.UNAVAILABLE && text.DROPPED.test(e.details) && e.wire?.connectionOver !== false;
}

/** The server's transport answered for calls that its shutdown cut off; its application did not. */
function isShutdownStatus(e: AttemptEvidence): boolean {
  return e.wire?.goawayCode !== undefined && text.SHUTDOWN_STATUSES.has(`${String(e.code)} ${e.details}`);
}

/** grpc-js closed the stream at a message above its own limit. A server uses the same text for requests above its limit. */
function isResponseTooLarge(e: AttemptEvidence): boolean {
  return e.wire?.closedHere === true && text.RESPONSE_TOO_LARGE.test(e.details);
}

function isLocalDeadline(e: AttemptEvidence): boolean {
  return e.code === StatusCode.DEADLINE_EXCEEDED && text.DEADLINE.test(e.details);
}

/** A response whose content-type is not gRPC's, or one without a content-type and without a status of gRPC. */
function isHttp(e: AttemptEvidence): boolean {
  return e.contentType === undefined ? httpFailure(e) !== undefined : !spokeGrpc(e);
}

/** The HTTP status from which grpc-js made the status of the attempt; `undefined` if it did not. */
function httpFailure(e: AttemptEvidence): number | undefined {
  const named = Number(text.HTTP_STATUS.exec(e.details)?.[1] ?? NaN);
  return named === e.wire?.httpStatus ? named : undefined;
}

function http(e: AttemptEvidence): Verdict {
  return { ...said('http', 'maybe', e), retryableHttp: PASSING_HTTP.has(httpFailure(e) ?? 200) };
}

// 'application/grpc', also with '+proto' or ';…' behind it; 'application/grpc-web' is another protocol.
function spokeGrpc(e: AttemptEvidence): boolean {
  const type = e.contentType;
  if (type === undefined || !type.toLowerCase().startsWith('application/grpc')) return false;
  const next = type.charAt('application/grpc'.length);
  return next === '' || next === '+' || next === ';' || next === ' ';
}

function answerBegan(e: AttemptEvidence): boolean {
  return e.headersReceived || e.messagesReceived > 0;
}

function farAsKnown(e: AttemptEvidence): Verdict['reachedServer'] {
  if (answerBegan(e)) return 'yes';
  return e.picked ? 'maybe' : 'no';
}

function unsent(e: AttemptEvidence): Verdict {
  return verdict('unsent', 'no', StatusCode.UNAVAILABLE, e.details);
}

// Never 'no', even if no connection was picked yet: grpc-js sends a call that is cancelled in the tick it began.
function cancelled(e: AttemptEvidence, code: StatusCode): Verdict {
  return verdict('cancelled', answerBegan(e) ? 'yes' : 'maybe', failureCode(e, code), e.details);
}

/** The code an ending of ours was given, or `otherwise` when that is none of a failure. */
function failureCode(e: AttemptEvidence, otherwise: StatusCode): StatusCode {
  return isStatusCode(e.code) && e.code !== StatusCode.OK ? e.code : otherwise;
}

function lost(kind: VerdictKind, reachedServer: Verdict['reachedServer'], what: string, e: AttemptEvidence): Verdict {
  const details = `${what} ${received(e)}`;
  const failure = { ...verdict(kind, reachedServer, StatusCode.UNAVAILABLE, details), connectionLost: true };
  return isStatusCode(e.code) ? { ...failure, originalCode: e.code } : failure;
}

/** Code and text as grpc-js reported them. */
function received(e: AttemptEvidence): string {
  return `(${statusName(e.code)}: ${e.details})`;
}

/** A verdict with code and details as they came. A response without a valid status code breaks the protocol. */
function said(kind: VerdictKind, reachedServer: Verdict['reachedServer'], e: AttemptEvidence): Verdict {
  if (isStatusCode(e.code)) return verdict(kind, reachedServer, e.code, e.details);
  const details = `Received ${String(e.code)}, which is no status code of gRPC${e.details ? `: ${e.details}` : ''}`;
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
