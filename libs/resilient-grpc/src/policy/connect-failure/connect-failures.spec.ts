import { describe, expect, it } from 'vitest';
import { connectFailureKind, CONNECT_FAILURES, doctorCommand } from './connect-failures.js';

const classify = (phase: 'tcp' | 'tls' | 'http2', code?: string, receivedBytes = 0, isSecure = phase === 'tls') =>
  connectFailureKind({ phase, code, isSecure, receivedBytes });

describe('connectFailureKind', () => {
  it.each([
    ['ECONNREFUSED', 'refused'],
    ['ETIMEDOUT', 'no-response'],
    ['EHOSTUNREACH', 'host-unreachable'],
    ['ENETUNREACH', 'network-unreachable'],
    ['ENOENT', 'no-such-socket'],
    ['EACCES', 'permission-denied'],
    ['ENOTFOUND', 'name-not-resolved'],
    ['EAI_AGAIN', 'name-not-resolved'],
    ['ERR_HTTP2_ERROR', 'not-http2'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'server-without-tls'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'client-certificate'],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'client-certificate'],
    ['ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL', 'no-http2-in-tls'],
    ['ERR_SSL_TLSV1_UNRECOGNIZED_NAME', 'unknown-server-name'],
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'tls-version'],
    ['ERR_SSL_BAD_SIGNATURE', 'tls-failed'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'certificate-name'],
    ['CERT_HAS_EXPIRED', 'certificate-expired'],
    ['CERT_NOT_YET_VALID', 'certificate-not-yet-valid'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'certificate-self-signed'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'certificate-untrusted'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'certificate-untrusted'],
    ['CERT_REVOKED', 'certificate-rejected'],
    ['UNABLE_TO_DECRYPT_CERT_SIGNATURE', 'certificate-rejected'],
    ['EMFILE', 'other'],
  ])('classifies the connect error code %s as %s', (code, kind) => {
    expect(classify('tls', code)).toBe(kind);
  });

  it('classifies a reset by the phase', () => {
    const phases = ['tcp', 'tls', 'http2'] as const;
    expect(phases.map((phase) => classify(phase, 'ECONNRESET'))).toEqual(['reset', 'reset-in-tls', 'reset']);
  });

  it('attributes handshake_failure to the client certificate only after the server hello', () => {
    const code = 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE';
    expect(classify('tls', code, 7)).toBe('tls-failed');
    expect(classify('tls', code, 1_200)).toBe('client-certificate');
  });

  it('classifies a connect failure as closed if the peer closes the connection after the TCP phase without sending a byte', () => {
    expect([classify('tls'), classify('http2')]).toEqual(['closed', 'closed']);
    expect(classify('tcp')).toBe('other');
  });

  it('recognizes a TLS server by its alert, which is shorter than any HTTP/2 frame', () => {
    expect(classify('http2', undefined, 7)).toBe('server-uses-tls');
    expect(classify('http2', undefined, 9)).toBe('closed');
    expect(classify('http2', undefined, 7, true)).toBe('closed');
  });

  it.each([undefined, 'EPIPE', 'ECONNRESET'])(
    'classifies a close (error code: %s) as closed-in-tls only if the server began its TLS handshake and sent no HTTP/2 frame',
    (code) => {
      expect(classify('tls', code, 1_200)).toBe('closed-in-tls');
      expect(classify('http2', code, 0, true)).toBe('closed-in-tls');
      const otherwise = code === 'ECONNRESET' ? 'reset' : 'closed';
      expect(classify('tls', code, 0)).toBe(code === 'ECONNRESET' ? 'reset-in-tls' : 'closed');
      expect(classify('http2', code, 9, true)).toBe(otherwise);
      expect(classify('http2', code, 0, false)).toBe(otherwise);
    },
  );
});

describe('CONNECT_FAILURES', () => {
  it('sets the reconnect class to `not-http2` for a reset or a close during the TLS handshake, and to `refused` for a reset before the first byte from the server', () => {
    const paceAfter = (code: string | undefined, bytes: number) =>
      CONNECT_FAILURES[classify('tls', code, bytes)].reconnect;
    expect([paceAfter('ECONNRESET', 1_200), paceAfter(undefined, 1_200)]).toEqual(['not-http2', 'not-http2']);
    expect(paceAfter('ECONNRESET', 0)).toBe('refused');
  });

  it.each(Object.entries(CONNECT_FAILURES))(
    'gives the connect failure kind %s a cause and a remedy that fit on a log line',
    (_kind, row) => {
      expect(row.cause).toMatch(/^[a-z].*[^.]$/);
      expect(row.remedy).toMatch(/^[a-z].*[^.]$/);
      expect(row.cause.length).toBeLessThanOrEqual(90);
      expect(row.remedy.length).toBeLessThanOrEqual(150);
    },
  );
});

describe('doctorCommand', () => {
  it.each([
    ['orders:50051', undefined, 'orders:50051'],
    ['dns:///orders:50051', {}, 'dns:///orders:50051 --tls'],
    ['[::1]:50051', undefined, "'[::1]:50051'"],
    ['unix:/run/my orders.sock', undefined, "'unix:/run/my orders.sock'"],
    ['kubernetes:///orders.shop:50051', undefined, 'kubernetes:///orders.shop:50051'],
    ['orders:443', { ca: '/etc/ca.pem' }, 'orders:443 --ca /etc/ca.pem'],
    [
      'orders:443',
      { ca: 'FILE', cert: '/c.pem', key: '/k.pem', serverName: 'orders.internal' },
      'orders:443 --ca FILE --cert /c.pem --key /k.pem --server-name orders.internal',
    ],
    ["orders'; rm:1", undefined, "'orders'\\''; rm:1'"],
  ])('returns the doctor command for %s with the TLS options %j', (target, tls, expected) => {
    expect(doctorCommand(target, tls)).toBe(`npx nestjs-resilient-grpc doctor ${expected}`);
  });

  it.each(['xds:///orders', 'consul://agent/orders'])('returns no doctor command for %s', (target) => {
    expect(doctorCommand(target, undefined)).toBeUndefined();
  });

  it.each([
    ['orders.v1.Orders', 'orders:50051 --tls --service orders.v1.Orders'],
    ["a'b", "orders:50051 --tls --service 'a'\\''b'"],
    ['', 'orders:50051 --tls'],
  ])('returns a doctor command that checks the health of the service %o', (service, expected) => {
    expect(doctorCommand('orders:50051', {}, service)).toBe(`npx nestjs-resilient-grpc doctor ${expected}`);
  });
});
