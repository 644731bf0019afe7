import { expect, it } from 'vitest';
import { handshakeFailure } from './handshake-failures.js';

it.each([
  ['ECONNRESET', 'CERT_HAS_EXPIRED', 'client-certificate-expired'],
  ['ECONNRESET', 'SELF_SIGNED_CERT_IN_CHAIN', 'client-certificate-untrusted'],
  ['ECONNRESET', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'client-certificate-untrusted'],
  ['ECONNRESET', 'CERT_REVOKED', 'client-certificate-invalid'],
  ['ECONNRESET', 'UNABLE_TO_GET_CRL', 'client-certificate-invalid'],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', null, 'server-certificate-rejected'],
  ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', null, 'server-certificate-rejected'],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', null, 'no-tls'],
  ['ERR_SSL_NO_SHARED_CIPHER', null, 'other'],
])('classifies a handshake failure with code %s and verification result %s as %s', (code, verification, reason) => {
  expect(handshakeFailure(code, verification)).toEqual({ reason, code: verification ?? code });
});

it.each([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_TLS_HANDSHAKE_TIMEOUT',
  'ERR_SSL_UNEXPECTED_EOF_WHILE_READING',
  undefined,
])('does not report a handshake that the client did not finish (%s)', (code) => {
  expect(handshakeFailure(code, null)).toBeUndefined();
});
