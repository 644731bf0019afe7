import { describe, expect, it } from 'vitest';
import { connectFailureOf, plainError, readConnectFailure } from './connect-failure.js';

const WRONG_VERSION =
  '80AC:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/openssl/ssl3_record.c:355:\n';

describe('connectFailureOf', () => {
  it.each([
    ['a refused connection', 'Error: connect ECONNREFUSED 127.0.0.1:50051', 'refused', 'ECONNREFUSED'],
    ['a reset connection', 'Error: read ECONNRESET', 'reset', 'ECONNRESET'],
    ['a name that does not resolve', 'getaddrinfo ENOTFOUND orders', 'name-not-resolved', 'ENOTFOUND'],
    ['a name server that does not respond', 'getaddrinfo EAI_AGAIN orders', 'name-not-resolved', 'EAI_AGAIN'],
    ['a missing unix socket', 'connect ENOENT /run/orders.sock', 'no-such-socket', 'ENOENT'],
    ['a network timeout', 'connect ETIMEDOUT 10.0.0.1:50051', 'no-response', 'ETIMEDOUT'],
    ['a peer that sends something other than HTTP/2', 'Protocol error', 'not-http2', 'ERR_HTTP2_ERROR'],
    ['a peer without TLS', WRONG_VERSION, 'server-without-tls', 'ERR_SSL_WRONG_VERSION_NUMBER'],
    ['an unreachable network', 'connect ENETUNREACH fd00::1:50051', 'network-unreachable', 'ENETUNREACH'],
  ])('recognizes %s as the cause of a connect failure, and shows the error code', (_, text, kind, code) => {
    const failure = connectFailureOf(text, '10.0.0.7:50051');
    expect(failure.kind).toBe(kind);
    expect(failure.message).toMatch(/^10\.0\.0\.7:50051 \w/);
    expect(failure.message).toContain(`(${code}`);
  });

  it.each(['Failed to connect', 'Client network socket disconnected before secure TLS connection was established'])(
    'recognizes a peer that closes the connection: %s',
    (text) => {
      expect(connectFailureOf(text)).toEqual({
        kind: 'closed',
        message: 'the server accepts the connection and closes it without a response',
      });
    },
  );

  it('replaces Unicode bidirectional control characters in the message of an unknown connect failure', () => {
    expect(connectFailureOf('Error: bad \u202ecert\u2066\u2069', 'orders').message).toBe(
      'orders cannot be reached (bad  cert)',
    );
  });

  it('shows an unknown connect failure on one line, without credentials', () => {
    const failure = connectFailureOf('Error: cannot use dns://me:secret@ns/orders\r\nfor now\n', '10.0.0.7:50051');
    expect(failure).toEqual({
      kind: 'other',
      message: '10.0.0.7:50051 cannot be reached (cannot use dns://***@ns/orders for now)',
    });
  });
});

describe('readConnectFailure', () => {
  it('replaces an OpenSSL error message, which ends with a line break, with an explanation', () => {
    const facts = { phase: 'tls', code: 'ERR_SSL_WRONG_VERSION_NUMBER', isSecure: true, receivedBytes: 47 } as const;
    expect(readConnectFailure(facts, '10.0.0.7:50051', WRONG_VERSION)).toEqual({
      kind: 'server-without-tls',
      message: '10.0.0.7:50051 responds without TLS, but the client uses TLS (ERR_SSL_WRONG_VERSION_NUMBER)',
    });
  });
});

describe('plainError', () => {
  it("removes grpc-js's fixed phrases, its timestamp, and line breaks from a connection error", () => {
    const text =
      'No connection established. Last error: Error: it failed:\n (2026-01-01T00:00:00.000Z). Resolution note: ';
    expect(plainError(text)).toBe('it failed:');
  });

  it("removes 'undefined', which grpc-js reports for an error without a message", () => {
    expect(plainError('No connection established. Last error: undefined. Resolution note: ')).toBe('');
    expect(connectFailureOf('undefined', '10.0.0.7:50051').message).toBe('10.0.0.7:50051 cannot be reached');
  });
});
