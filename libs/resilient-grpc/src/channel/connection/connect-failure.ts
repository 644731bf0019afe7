import { maskCredentials } from '../../errors/mask-credentials.js';
import type { ConnectFailureKind } from '../../policy/reconnect/early-reconnect.js';

/** A failed attempt to connect. Decisions use `kind`; `message` is for logs and errors. */
export interface ConnectFailure {
  readonly kind: ConnectFailureKind;
  readonly message: string;
}

// No listener, a reset, or no such name (for a unix socket, no such file).
const REFUSED = /\bE(?:CONNREFUSED|CONNRESET|NOTFOUND|NOENT|AI_AGAIN)\b|^Name resolution failed\b/;

// The peer closed the connection or sent something other than HTTP/2 or TLS. No TLS handshake was completed.
const NOT_HTTP2 = /^(?:Protocol error|Failed to connect)\b|wrong version number|disconnected before secure TLS/;

/** Classifies a failure by the error message of grpc-js or Node, neither of which describes it in any other way. */
export function connectFailure(message: string): ConnectFailure {
  if (NOT_HTTP2.test(message)) return { kind: 'not-http2', message };
  return { kind: REFUSED.test(message) ? 'refused' : 'other', message };
}

/** Removes credentials and fixed phrases from grpc-js's error message for a failed connection. */
export function plainError(error: string): string {
  return maskCredentials(error)
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\. Resolution note: $/, '')
    .replace(/^(?:Error: )+/, '')
    .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, '');
}
