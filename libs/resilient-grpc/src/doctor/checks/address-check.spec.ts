import { describe, expect, it } from 'vitest';
import type { ConnectionFailure } from '../open-connection.js';
import type { ConnectionProbeResult } from '../probe-connection.js';
import { addressCheck } from './address-check.js';

const address = { host: '10.0.0.7', port: 50051 };
const failure = (phase: ConnectionFailure['phase'], code: string, message = code) => ({ phase, code, message });
const ready: ConnectionProbeResult = { tcpMs: 1, readyMs: 3 };
const check = (secure: boolean, probe: ConnectionProbeResult, otherway?: ConnectionProbeResult) =>
  addressCheck({ address, secure, probe, otherway });

describe('an address that can be used', () => {
  it('is told with the time of each step', () => {
    expect(check(false, ready)).toMatchObject({ status: 'ok', says: '10.0.0.7:50051 (TCP 1 ms, READY 3 ms)' });
    const tls = { protocol: 'TLSv1.3', alpn: 'h2', certificate: undefined, refused: undefined };
    expect(check(true, { ...ready, tlsMs: 2, tls })).toMatchObject({
      status: 'ok',
      says: '10.0.0.7:50051 (TCP 1 ms, TLS 2 ms (TLSv1.3, h2), READY 3 ms)',
    });
  });

  it('is a warning where ALPN did not agree on HTTP/2', () => {
    const tls = { protocol: 'TLSv1.3', alpn: undefined, certificate: undefined, refused: undefined };
    expect(check(true, { ...ready, tlsMs: 2, tls })).toMatchObject({ status: 'warning' });
  });
});

describe('an address that cannot be used says why, and what to do', () => {
  it.each([
    [failure('tcp', 'ECONNREFUSED'), 'refused the connection'],
    [failure('tcp', 'timeout', 'nothing within 5 s'), 'does not answer at all (nothing within 5 s)'],
    [failure('tcp', 'ECONNRESET'), 'reset the connection'],
    [failure('tcp', 'ENETUNREACH'), 'there is no way to its network'],
    [failure('tcp', 'EWHATEVER', 'connect EWHATEVER'), 'cannot be connected to: connect EWHATEVER (EWHATEVER)'],
    [
      failure('http2', 'timeout', 'nothing within 5 s'),
      'stays silent (TCP 1 ms): no HTTP/2 SETTINGS, nothing within 5 s',
    ],
    [failure('http2', 'closed'), 'ends it before HTTP/2 SETTINGS (closed)'],
    [failure('http2', 'goaway'), 'GOAWAY at once'],
    [failure('http2', 'http1', 'HTTP/1.1 400 Bad Request'), "answers HTTP/1 ('HTTP/1.1 400 Bad Request')"],
    [failure('http2', 'tls'), 'speaks TLS, and the client does not'],
    [failure('http2', 'unknown', '220 mail'), 'fails at HTTP/2 SETTINGS: 220 mail (unknown)'],
    [failure('tls', 'timeout', 'nothing within 5 s'), 'no TLS handshake'],
    [failure('tls', 'ECONNRESET'), 'ends it before the TLS handshake'],
    [failure('tls', 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL'), 'does not offer HTTP/2 (ALPN)'],
    [failure('http2', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), 'wants a certificate of the client'],
    [failure('tls', 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME'), '(SNI)'],
    [failure('tls', 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'), 'no version of TLS'],
  ])('%j', (one, says) => {
    const secure = one.phase === 'tls' || one.code.startsWith('ERR_SSL');
    const told = check(secure, one.phase === 'tcp' ? { failure: one } : { tcpMs: 1, failure: one });
    expect(told.status).toBe('failed');
    expect(told.says).toContain(says);
    expect(told.remedy).toMatch(/\w{3}/);
  });

  it('speaks of the interfaces that a server listens on only where the address is not its own', () => {
    const probe = { failure: failure('tcp', 'ECONNREFUSED') };
    expect(check(false, probe).remedy).toContain('0.0.0.0');
    const here = addressCheck({ address: { host: '127.0.0.1', port: 1 }, secure: false, probe, otherway: undefined });
    expect(here.remedy).toBe('is the server running, and on this port?');
  });

  it('takes TLS that was not asked for from a handshake that succeeds, and its absence from SETTINGS', () => {
    const closed = { tcpMs: 1, failure: failure('http2', 'closed') };
    expect(check(false, closed, { tcpMs: 1, tlsMs: 2 }).says).toContain('speaks TLS');
    const noTls = { tcpMs: 1, failure: failure('tls', 'ERR_SSL_WRONG_VERSION_NUMBER') };
    expect(check(true, noTls, ready).says).toContain('speaks HTTP/2 without TLS');
    const http1 = { tcpMs: 1, failure: failure('http2', 'http1', 'HTTP/1.1 400 Bad Request') };
    expect(check(true, noTls, http1).says).toContain('answers HTTP/1');
  });
});
