import { CONTROL_CHARACTERS, maskCredentials } from '../../errors/error-message.js';
import { CONNECT_FAILURES, type ConnectFailureKind } from '../../policy/connect-failure/connect-failures.js';

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

/** Formats a duration: '0.2 s', '7.3 s', '125 s'. */
export function seconds(ms: number): string {
  const value = Math.max(ms, 0) / 1000;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} s`;
}
