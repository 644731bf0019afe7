import { describe, expect, it } from 'vitest';
import type { ConnectionFailure } from '../open-connection.js';
import type { ConnectionProbeResult } from '../probe-connection.js';
import { addressCheck } from './address-check.js';

const address = { host: '10.0.0.7', port: 50051 };
const failure = (phase: ConnectionFailure['phase'], code: string, message = code) => ({ phase, code, message });
const ready: ConnectionProbeResult = { tcpMs: 1, readyMs: 3 };
const check = (secure: boolean, probe: ConnectionProbeResult, toggledTlsProbe?: ConnectionProbeResult) =>
  addressCheck({ address, secure, probe, toggledTlsProbe });

describe('reachable address', () => {
  it('reports the time of each step of a connection to an address', () => {
    expect(check(false, ready)).toMatchObject({ status: 'ok', message: '10.0.0.7:50051 (TCP 1 ms, READY 3 ms)' });
    const tls = { protocol: 'TLSv1.3', alpn: 'h2', certificate: undefined, refused: undefined };
    expect(check(true, { ...ready, tlsMs: 2, tls })).toMatchObject({
      status: 'ok',
      message: '10.0.0.7:50051 (TCP 1 ms, TLS 2 ms (TLSv1.3, h2), READY 3 ms)',
    });
  });

  it('warns about a reachable address if ALPN did not select HTTP/2', () => {
    const tls = { protocol: 'TLSv1.3', alpn: undefined, certificate: undefined, refused: undefined };
    expect(check(true, { ...ready, tlsMs: 2, tls })).toMatchObject({ status: 'warning' });
  });
});

describe('unusable address', () => {
  it.each([
    [failure('tcp', 'ECONNREFUSED'), 'refused the connection'],
    [failure('tcp', 'timeout', 'timed out after 5 s'), 'does not respond (timed out after 5 s)'],
    [failure('tcp', 'ECONNRESET'), 'reset the connection'],
    [failure('tcp', 'ENETUNREACH'), 'no route to its network'],
    [failure('tcp', 'EWHATEVER', 'connect EWHATEVER'), 'cannot be reached (connect EWHATEVER)'],
    [
      failure('http2', 'timeout', 'timed out after 5 s'),
      'accepts the connection but does not respond (timed out after 5 s, waiting for HTTP/2 SETTINGS (TCP 1 ms))',
    ],
    [failure('http2', 'closed'), 'closes it without a response (before HTTP/2 SETTINGS)'],
    [failure('http2', 'goaway'), 'sends GOAWAY immediately'],
    [failure('http2', 'http1', 'HTTP/1.1 400 Bad Request'), "but gRPC requires HTTP/2 ('HTTP/1.1 400 Bad Request')"],
    [failure('http2', 'tls'), 'uses TLS, but the client does not'],
    [failure('http2', 'unknown', '220 mail'), "but gRPC requires HTTP/2 ('220 mail')"],
    [failure('tls', 'timeout', 'timed out after 5 s'), 'waiting for the TLS handshake'],
    [failure('tls', 'closed'), 'without a response (before the TLS handshake)'],
    [failure('tls', 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL'), 'does not offer HTTP/2 in TLS (ALPN)'],
    [failure('http2', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), 'requires a client certificate'],
    [failure('tls', 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME'), '(SNI)'],
    [failure('tls', 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'), 'supports no TLS version'],
  ])('reports the cause and a remedy for the connection failure %j', (cause, message) => {
    const secure = cause.phase === 'tls' || cause.code.startsWith('ERR_SSL');
    const result = check(secure, cause.phase === 'tcp' ? { failure: cause } : { tcpMs: 1, failure: cause });
    expect(result.status).toBe('failed');
    expect(result.message).toContain(message);
    expect(result.remedy).toMatch(/\w{3}/);
  });

  it('mentions the client certificate in the remedy for a closed TLS connection only if the server may have rejected that certificate', () => {
    const certificate = 'check for a missing or rejected client certificate';
    const closed = (phase: 'tls' | 'http2', receivedBytes: number) =>
      check(true, { tcpMs: 1, failure: failure(phase, 'closed'), receivedBytes }).remedy;
    expect(closed('http2', 0)).toContain(certificate);
    expect(closed('tls', 1_200)).toContain(certificate);
    expect(closed('tls', 0)).not.toContain(certificate);
  });

  it.each([
    [7, 'fails the TLS handshake (ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE)'],
    [1_200, 'requires a client certificate, or rejects the one it received'],
  ])(
    'mentions the client certificate for a handshake_failure alert only if the server hello arrived before the alert (received bytes: %s)',
    (receivedBytes, message) => {
      const cause = failure('tls', 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE');
      expect(check(true, { tcpMs: 1, failure: cause, receivedBytes }).message).toContain(message);
    },
  );

  it('detects TLS, no TLS, or HTTP/1.1 on a server by a second probe with the opposite TLS setting', () => {
    const closed = { tcpMs: 1, failure: failure('http2', 'closed') };
    expect(check(false, closed, { tcpMs: 1, tlsMs: 2 }).message).toContain('uses TLS');
    const noTls = { tcpMs: 1, failure: failure('tls', 'ERR_SSL_WRONG_VERSION_NUMBER') };
    expect(check(true, noTls, ready).message).toContain('responds without TLS, but the client uses TLS');
    const http1 = { tcpMs: 1, failure: failure('http2', 'http1', 'HTTP/1.1 400 Bad Request') };
    expect(check(true, noTls, http1).message).toContain("requires HTTP/2 ('HTTP/1.1 400 Bad Request')");
  });
});
