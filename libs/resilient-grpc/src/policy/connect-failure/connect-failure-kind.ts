import type { ConnectFailureKind } from './connect-failures.js';

/** Facts about a failed connection attempt. */
export interface ConnectFailureFacts {
  /** The step that failed. */
  readonly phase: 'tcp' | 'tls' | 'http2';
  /** Error code from Node or OpenSSL; `undefined` if the code is unknown, or if the peer closed the connection without an error. */
  readonly code: string | undefined;
  /** True if the connection uses TLS. */
  readonly isSecure: boolean;
  /** Number of bytes that the peer sent; after a TLS handshake, the number of decrypted bytes that followed the handshake. */
  readonly receivedBytes: number;
  /** True if the address is the path of a Unix socket. @defaultValue false */
  readonly isUnixSocket?: boolean;
}

const BY_CODE: Readonly<Record<string, ConnectFailureKind>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'closed',
  ETIMEDOUT: 'no-response',
  EHOSTUNREACH: 'host-unreachable',
  ENETUNREACH: 'network-unreachable',
  ENOENT: 'no-such-socket',
  EACCES: 'permission-denied',
  ENOTFOUND: 'name-not-resolved',
  EAI_AGAIN: 'name-not-resolved',
  ERR_HTTP2_ERROR: 'not-http2',
  ERR_SSL_WRONG_VERSION_NUMBER: 'server-without-tls',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'server-without-tls',
  ERR_SSL_HTTP_REQUEST: 'server-without-tls',
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate-name',
  CERT_HAS_EXPIRED: 'certificate-expired',
  CERT_NOT_YET_VALID: 'certificate-not-yet-valid',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'certificate-self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'certificate-untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'certificate-untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'certificate-untrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'certificate-untrusted',
};

/** Patterns, each of which matches a group of codes. Names of TLS alerts differ between versions of TLS and of OpenSSL. */
const BY_PATTERN: readonly (readonly [RegExp, ConnectFailureKind])[] = [
  [
    /^ERR_SSL_.*(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|HANDSHAKE_FAILURE)/,
    'client-certificate',
  ],
  [/^ERR_SSL_.*NO_APPLICATION_PROTOCOL/, 'no-http2-in-tls'],
  [/^ERR_SSL_.*UNRECOGNIZED_NAME/, 'unknown-server-name'],
  [/^ERR_SSL_.*(?:PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL)/, 'tls-version'],
  [/^ERR_(?:SSL|TLS)_/, 'tls-failed'],
  // The other results of OpenSSL's certificate verification.
  [/CERT|^CRL_|^INVALID_CA$|^INVALID_PURPOSE$|^HOSTNAME_MISMATCH$/, 'certificate-rejected'],
];

/**
 * Length of a TLS alert: a record header of 5 bytes, and an alert of 2 bytes. The shortest HTTP/2 frame has 9 bytes, and a server hello is
 * longer.
 */
const TLS_ALERT_BYTES = 7;

/** Codes of a connection that the peer closed. `undefined`: it closed the connection without an error. */
const CLOSED: ReadonlySet<string | undefined> = new Set([undefined, 'EPIPE', 'ECONNRESET']);

/**
 * Classifies a failed connection attempt by its error code, or, if the peer closed the connection, by the phase and the number of received
 * bytes. The messages of Node and OpenSSL are ignored.
 */
export function connectFailureKind(facts: ConnectFailureFacts): ConnectFailureKind {
  const { phase, code, isSecure, receivedBytes } = facts;
  if (CLOSED.has(code) && mayRejectClientCertificate(facts)) return 'closed-in-tls';
  if (code === 'ECONNRESET' && phase === 'tls') return 'reset-in-tls';
  if (code === 'ECONNREFUSED' && facts.isUnixSocket === true) return 'socket-refused';
  if (code !== undefined) {
    // The server has sent no more than the alert, so it has not requested a client certificate.
    if (code.endsWith('_HANDSHAKE_FAILURE') && receivedBytes <= TLS_ALERT_BYTES) return 'tls-failed';
    return BY_CODE[code] ?? BY_PATTERN.find(([pattern]) => pattern.test(code))?.[1] ?? 'other';
  }
  if (phase === 'http2' && !isSecure && receivedBytes === TLS_ALERT_BYTES) return 'server-uses-tls';
  return phase === 'tcp' ? 'other' : 'closed';
}

/**
 * True if the server may have closed the connection because of the client certificate. A server requests the certificate after it has sent
 * the start of its handshake, and sends no HTTP/2 frame before it has verified the certificate. With TLS 1.3, the client's handshake ends
 * before this verification. If the verification fails, Node and grpcio close the connection without an alert.
 */
function mayRejectClientCertificate({ phase, isSecure, receivedBytes }: ConnectFailureFacts): boolean {
  if (!isSecure || phase === 'tcp') return false;
  return phase === 'tls' ? receivedBytes > 0 : receivedBytes === 0;
}
