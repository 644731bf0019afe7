import type { HandshakeFailureReason } from '../../call/server-event.js';

/** Patterns of error codes from Node and OpenSSL. */
const PATTERNS: readonly (readonly [pattern: RegExp, reason: HandshakeFailureReason])[] = [
  [/^CERT_HAS_EXPIRED$/, 'client-certificate-expired'],
  [/^CERT_NOT_YET_VALID$/, 'client-certificate-not-yet-valid'],
  [
    /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF))/,
    'client-certificate-untrusted',
  ],
  [/^ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE$/, 'client-certificate-missing'],
  // Alerts from the client. Their names differ between versions of TLS and of OpenSSL.
  [/^ERR_SSL_.*ALERT_.*(UNKNOWN_CA|CERTIFICATE)/, 'server-certificate-rejected'],
  [/^ERR_SSL_(WRONG_VERSION_NUMBER|HTTP_REQUEST|HTTPS_PROXY_REQUEST|PACKET_LENGTH_TOO_LONG)$/, 'no-tls'],
  [/^ERR_SSL_NO_APPLICATION_PROTOCOL$/, 'no-http2'],
  // Excludes an unexpected end of file, which can come from a client that closes the connection during the handshake.
  [/^ERR_SSL_(?!UNEXPECTED_EOF)/, 'other'],
];

/** Explanation of each reason, for the log. */
export const HANDSHAKE_FAILURES: Readonly<
  Record<HandshakeFailureReason, { readonly cause: string; readonly remedy: string }>
> = {
  'client-certificate-missing': {
    cause: 'the client sent no certificate',
    remedy: 'set a certificate and a key in the client, such as tls: { cert, key }',
  },
  'client-certificate-expired': {
    cause: 'the certificate of the client, or of its authority, has expired',
    remedy: 'renew the certificate, and make sure that the client reads the new certificate (tls: { reload: true })',
  },
  'client-certificate-not-yet-valid': {
    cause: 'the certificate of the client, or of its authority, is not yet valid',
    remedy: 'check the clocks of both hosts and the start of the validity period of the certificate',
  },
  'client-certificate-untrusted': {
    cause: 'the certificate of the client is from an unknown authority',
    remedy:
      "add the authority to the root certificates in the server's `credentials`, or send the intermediate certificates in the client's `cert`",
  },
  'client-certificate-invalid': {
    cause: 'the certificate of the client is invalid',
    remedy: 'check the purpose and the signature of the certificate, and the revocation list of its authority',
  },
  'server-certificate-rejected': {
    cause: "the client rejected the server's certificate",
    remedy:
      "set the server's authority in the client (tls: { ca }), and check the name and the validity of the certificate",
  },
  'no-tls': {
    cause: 'the client does not use TLS',
    remedy:
      'set tls: {} in the client, or enable TLS, and turn off the PROXY protocol, in the health check or proxy that connected',
  },
  'no-http2': {
    cause: 'the client offers only protocols other than HTTP/2 (ALPN)',
    remedy: 'connect with a gRPC client, or configure HTTP/2 or TCP passthrough in the proxy',
  },
  other: {
    cause: 'the handshake failed',
    remedy: 'check the TLS versions and cipher suites of the client',
  },
};

/** Reason and code of a failed handshake. */
export interface HandshakeFailure {
  readonly reason: HandshakeFailureReason;
  readonly code: string;
}

/**
 * Returns the reason for a failed TLS handshake; `undefined` if the client closed the connection or sent nothing, as port scans and TCP
 * health checks do.
 * @param code code of the error that Node reports
 * @param verification result of the verification of the client certificate; `null` or `undefined` if it was not verified or is valid
 */
export function handshakeFailure(code: unknown, verification: unknown): HandshakeFailure | undefined {
  const isRejected = typeof verification === 'string';
  // For a rejected client, the verification result is used: Node closes the connection, so the error is only a reset.
  const found = isRejected ? verification : code;
  if (typeof found !== 'string') return undefined;
  const reason = PATTERNS.find(([pattern]) => pattern.test(found))?.[1];
  if (reason !== undefined) return { reason, code: found };
  return isRejected ? { reason: 'client-certificate-invalid', code: found } : undefined;
}
