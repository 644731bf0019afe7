import { createServer } from 'node:http2';
import { connect, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { PREFACE, firstLine, detectProtocol } from './detect-protocol.js';

const frame = (type: number, stream = 0) => Buffer.from([0, 0, 0, type, 0, 0, 0, 0, stream]);

describe('detectProtocol', () => {
  it.each([
    ['http2', 'a SETTINGS frame', frame(4)],
    ['goaway', 'a GOAWAY frame', frame(7)],
    ['unknown', 'a SETTINGS frame on stream 1', frame(4, 1)],
    ['unknown', 'a truncated frame', frame(4).subarray(0, 8)],
    ['http1', 'an HTTP/1 response', Buffer.from('HTTP/1.1 400 Bad Request\r\n')],
    ['tls', 'a TLS alert', Buffer.from([0x15, 3, 1, 0, 2, 2, 70])],
    ['tls', 'a TLS handshake', Buffer.from([0x16, 3, 3])],
    ['unknown', 'an SMTP greeting', Buffer.from('220 mail.example ESMTP')],
    ['unknown', 'no bytes', Buffer.alloc(0)],
  ] as const)("returns '%s' as the detected protocol for %s", (protocol, _what, bytes) => {
    expect(detectProtocol(bytes)).toBe(protocol);
  });

  it('detects http2 when a server responds to the HTTP/2 preface', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
    socket.write(PREFACE);
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(detectProtocol(bytes)).toBe('http2');
    socket.destroy();
    server.close();
  });

  it('returns the first line of the response from a server and replaces its control characters', () => {
    expect(firstLine(Buffer.from('HTTP/1.1 200 OK\r\nserver: x'))).toBe('HTTP/1.1 200 OK');
    expect(firstLine(Buffer.from('\u001b[2Jhello'))).toBe('.[2Jhello');
  });
});
