import { describe, expect, it } from 'vitest';
import { connectFailure } from './connect-failure.js';

const WRONG_VERSION = '0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/openssl/x.c:355:';
const DISCONNECTED = 'Client network socket disconnected before secure TLS connection was established';

describe('connectFailure', () => {
  it.each([
    ['a refused connection', 'connect ECONNREFUSED 127.0.0.1:50051', 'refused'],
    ['a reset connection', 'Error: read ECONNRESET', 'refused'],
    ['a name that does not resolve', 'getaddrinfo ENOTFOUND orders', 'refused'],
    ['a failed resolver', 'Name resolution failed for target dns:orders:50051', 'refused'],
    ['a missing unix socket', 'connect ENOENT /run/orders.sock', 'refused'],
    ['a peer that sends something other than HTTP/2', 'Protocol error', 'not-http2'],
    ['a peer that closes the connection', 'Failed to connect', 'not-http2'],
    ['a peer that sends something other than TLS', `80AC:error:${WRONG_VERSION}`, 'not-http2'],
    ['a peer that closes the connection before TLS', DISCONNECTED, 'not-http2'],
    ['a network timeout', 'connect ETIMEDOUT 10.0.0.1:50051', 'other'],
    ['a failed TLS handshake', 'self-signed certificate in certificate chain', 'other'],
  ])('recognizes %s', (_, message, kind) => {
    expect(connectFailure(message)).toEqual({ kind, message });
  });
});
