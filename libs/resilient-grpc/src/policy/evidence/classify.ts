import { isStatusCode, StatusCode, statusName } from '../../status/status-code.js';
import type { AttemptEvidence } from './attempt-evidence.js';
import * as text from './grpc-js-texts.js';
import type { Verdict, VerdictKind } from './verdict.js';

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
 * Judges how an attempt ended. The evidence decides first, then the code, as one cause wears several codes: a server that
 * goes away is CANCELLED, INTERNAL or UNAVAILABLE. Texts decide last, and only where no content-type of gRPC shows that the
 * status is the server's own word, or where the answer is committed and nothing else is known.
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
  if (e.code === StatusCode.UNAVAILABLE) {
    if (!e.channelReady) return verdict('unsent', 'no', e.code, e.details);
    // The channel became READY between the failed pick and its status, or another one took its place. To wait would loop,
    // as nothing is there to wait for; so it counts as an attempt that was handed back.
    if (text.NOT_PICKED.test(e.details)) return refused(e);
  }
  if (e.code === StatusCode.INTERNAL && text.NOT_STARTED.test(e.details)) {
    return refused(e);
  }
  if (isLocalCancel(e)) return cancelled(e, StatusCode.CANCELLED);
  if (isLocalDeadline(e)) return verdict('deadline', 'no', StatusCode.DEADLINE_EXCEEDED, e.details);
  return said('local', 'no', e);
}

/** Picked, and headers or messages came. */
function afterAnswerBegan(e: AttemptEvidence): Verdict {
  if (isHttp(e)) return http(e);
  if (isConnectionLost(e)) {
    return lost('committed', 'yes', 'Connection lost after the answer had begun', e);
  }
  return said('committed', 'yes', e);
}

/** Picked, and neither headers nor messages came. */
function withoutAnswer(e: AttemptEvidence): Verdict {
  if (spokeGrpc(e)) return said('server', 'yes', e);
  if (isHttp(e)) return http(e);
  if (e.code === StatusCode.UNAVAILABLE && e.details === text.STREAM_REFUSED) {
    return refused(e);
  }
  // Everything else that is UNAVAILABLE here was made by the transport, whatever its text.
  if (e.code === StatusCode.UNAVAILABLE || isConnectionLost(e)) {
    return lost('connection-lost', 'maybe', 'Connection lost after sending', e);
  }
  if (isLocalCancel(e)) return cancelled(e, StatusCode.CANCELLED);
  if (isLocalDeadline(e)) return verdict('deadline', 'maybe', StatusCode.DEADLINE_EXCEEDED, e.details);
  // A later message of a request stream: earlier ones may have arrived.
  if (text.REQUEST_TOO_LARGE.test(e.details)) return said('local', 'maybe', e);
  if (text.REQUEST_NOT_SERIALIZABLE.test(e.details)) return said('serialize', 'maybe', e);
  // Other resets (RST_STREAM 1, 5, 13 …), and servers that name no content-type: their word, though nothing proves it.
  return said('server', 'maybe', e);
}

function isConnectionLost(e: AttemptEvidence): boolean {
  switch (e.code) {
    case StatusCode.UNAVAILABLE:
      return text.DROPPED.test(e.details);
    case StatusCode.CANCELLED:
      return e.details === text.RESET_BY_CANCEL;
    case StatusCode.INTERNAL:
      return text.RESET_BY_PEER.test(e.details);
    case StatusCode.RESOURCE_EXHAUSTED:
      return e.details === text.RESET_BY_CALM;
    default:
      return false;
  }
}

// By a parent call, grpc-js's own client or an interceptor; RST_STREAM(CANCEL) of the server has a text of its own.
function isLocalCancel(e: AttemptEvidence): boolean {
  return e.code === StatusCode.CANCELLED && e.details !== text.RESET_BY_CANCEL;
}

function isLocalDeadline(e: AttemptEvidence): boolean {
  return e.code === StatusCode.DEADLINE_EXCEEDED && text.DEADLINE.test(e.details);
}

/** An answer whose content-type is not gRPC's, or grpc-js's word that it was none. */
function isHttp(e: AttemptEvidence): boolean {
  if (e.contentType !== undefined) return !spokeGrpc(e);
  return text.HTTP_STATUS.test(e.details);
}

function http(e: AttemptEvidence): Verdict {
  const status = text.HTTP_STATUS.exec(e.details)?.[1];
  const retryable = status === '429' || status === '502' || status === '503' || status === '504';
  return { ...said('http', 'maybe', e), retryableHttp: retryable };
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

function refused(e: AttemptEvidence): Verdict {
  const handedBack = verdict('refused', 'no', StatusCode.UNAVAILABLE, e.details);
  return e.kept === false ? { ...handedBack, notKept: true } : handedBack;
}

// Never 'no', even where no connection was picked yet: a call that is cancelled in the tick it began is sent all the same.
function cancelled(e: AttemptEvidence, code: StatusCode): Verdict {
  return verdict('cancelled', answerBegan(e) ? 'yes' : 'maybe', failureCode(e, code), e.details);
}

/** The code an ending of ours was given, or `otherwise` when that is none of a failure. */
function failureCode(e: AttemptEvidence, otherwise: StatusCode): StatusCode {
  return isStatusCode(e.code) && e.code !== StatusCode.OK ? e.code : otherwise;
}

function lost(kind: VerdictKind, reachedServer: Verdict['reachedServer'], what: string, e: AttemptEvidence): Verdict {
  const details = `${what} (${statusName(e.code)}: ${e.details})`;
  return { ...verdict(kind, reachedServer, StatusCode.UNAVAILABLE, details), connectionLost: true };
}

/** A verdict with code and details as they came; what is no status code becomes UNKNOWN and stands in the text. */
function said(kind: VerdictKind, reachedServer: Verdict['reachedServer'], e: AttemptEvidence): Verdict {
  if (isStatusCode(e.code)) return verdict(kind, reachedServer, e.code, e.details);
  const details = e.details ? `: ${e.details}` : '';
  return verdict(
    kind,
    reachedServer,
    StatusCode.UNKNOWN,
    `Received ${String(e.code)}, which is no status code of gRPC${details}`,
  );
}

function verdict(
  kind: VerdictKind,
  reachedServer: Verdict['reachedServer'],
  code: StatusCode,
  details: string,
): Verdict {
  return { kind, reachedServer, code, details, retryableHttp: false, connectionLost: false };
}
