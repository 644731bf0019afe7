import { CONTROL_CHARACTERS, maskCredentials } from '../../errors/error-message.js';
import {
  connectFailureKind,
  type ConnectFailureFacts,
  CONNECT_FAILURES,
  type ConnectFailureKind,
} from '../../policy/connect-failure/connect-failures.js';

/** A failed attempt to connect. Decisions use `kind`; `message` is one sentence for logs and errors, without the remedy. */
export interface ConnectFailure {
  readonly kind: ConnectFailureKind;
  readonly message: string;
}

const CONTROL_RUN = new RegExp(`${CONTROL_CHARACTERS.source}+`, 'g');
/** Maximum length in characters of the part of a message that comes from a peer, from OpenSSL, or from grpc-js. */
const MAX_DETAIL_LENGTH = 200;

/**
 * Describes a failure: '10.0.0.7:50051 refused the connection: nothing is listening on this port (ECONNREFUSED)'.
 *
 * @param subject address or name; if `undefined`, the message contains 'the server' instead
 */
export function connectFailure(
  kind: ConnectFailureKind,
  subject: string | undefined,
  detail: string | undefined,
): ConnectFailure {
  const more = detail === undefined || detail === '' ? '' : ` (${plainDetail(detail)})`;
  return { kind, message: `${subject ?? 'the server'} ${CONNECT_FAILURES[kind].cause}${more}` };
}

/** Returns a failure with `message` instead of the fixed cause of `kind`, for example 'no endpoint is serving (10.0.0.7:50051: failed)'. */
export function otherFailure(kind: ConnectFailureKind, message: string): ConnectFailure {
  return { kind, message: plainText(message) };
}

/** Describes the failure that `facts` show. `text` is used only if the facts contain no code that explains the failure. */
export function readConnectFailure(
  facts: ConnectFailureFacts,
  subject: string | undefined,
  text: string,
): ConnectFailure {
  const kind = connectFailureKind(facts);
  return connectFailure(kind, subject, kind === 'other' ? plainError(text) : facts.code);
}

/** Describes the failure of an attempt whose error object is unknown, because grpc-js keeps only its message. */
export function connectFailureOf(text: string, subject?: string): ConnectFailure {
  const plain = plainError(text);
  if (CLOSED_BY_PEER.test(plain)) return connectFailure('closed', subject, undefined);
  // All other subjects end with a port.
  const isUnixSocket = subject !== undefined && !/:\d+$/.test(subject);
  const facts = { phase: 'tcp', code: codeIn(plain), isSecure: false, receivedBytes: 0, isUnixSocket } as const;
  return readConnectFailure(facts, subject, plain);
}

// Messages from grpc-js and Node about a connection that the peer closed during a handshake.
export const CLOSED_BY_PEER = /^Failed to connect\b|disconnected before secure TLS/;

/** Returns the error code that a message from Node, OpenSSL, or grpc-js describes; `undefined` if the code is unknown. */
export function codeIn(message: string): string | undefined {
  if (message.includes('wrong version number')) return 'ERR_SSL_WRONG_VERSION_NUMBER';
  if (/^(?:Error: )*Protocol error\b/.test(message)) return 'ERR_HTTP2_ERROR';
  // Node writes the code of a failed system call: 'connect ECONNREFUSED 10.0.0.7:50051'.
  return /^(?:Error: )*(?:\w+ )?(E[A-Z]{2,}(?:_[A-Z]+)*)\b/.exec(message)?.[1];
}

/**
 * Removes fixed phrases and the timestamp from grpc-js's error message for a failed connection, and masks credentials. Returns '' for an
 * error without a message, which grpc-js reports as 'undefined'.
 */
export function plainError(error: string): string {
  return plainText(
    maskCredentials(error)
      .replace(/^No connection established\. Last error: /, '')
      .replace(/\. Resolution note: $/, '')
      .replace(/^(?:Error: )+/, '')
      .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, '')
      .replace(/^undefined$/, ''),
  );
}

function plainDetail(detail: string): string {
  const text = plainText(detail);
  return text.length > MAX_DETAIL_LENGTH ? `${text.slice(0, MAX_DETAIL_LENGTH)}…` : text;
}

/** Replaces control characters with spaces and trims the text, because OpenSSL ends its messages with a line break. */
function plainText(text: string): string {
  return text.replace(CONTROL_RUN, ' ').trim();
}
