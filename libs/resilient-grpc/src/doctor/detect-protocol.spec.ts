import { createServer } from 'node:http2';
import { connect, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { PREFACE, firstLine, detectProtocol } from './detect-protocol.js';

const frame = (type: number, stream = 0) => Buffer.from([0, 0, 0, type, 0, 0, 0, 0, stream]);

describe('the first bytes of an answer', () => {
  it.each([
    ['http2', frame(4)],
    ['goaway', frame(7)],
    ['unknown', frame(4, 1)],
    ['unknown', frame(4).subarray(0, 8)],
    ['http1', Buffer.from('HTTP/1.1 400 Bad Request\r\n')],
    ['tls', Buffer.from([0x15, 3, 1, 0, 2, 2, 70])],
    ['tls', Buffer.from([0x16, 3, 3])],
    ['unknown', Buffer.from('220 mail.example ESMTP')],
    ['unknown', Buffer.alloc(0)],
  ] as const)('are %s', (spoken, bytes) => {
    expect(detectProtocol(bytes)).toBe(spoken);
  });

  it('are SETTINGS where the preface was sent to an HTTP/2 server', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
    socket.write(PREFACE);
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(detectProtocol(bytes)).toBe('http2');
    socket.destroy();
    server.close();
  });

  it('are shown as one line that does nothing to a terminal', () => {
    expect(firstLine(Buffer.from('HTTP/1.1 200 OK\r\nserver: x'))).toBe('HTTP/1.1 200 OK');
    expect(firstLine(Buffer.from('\u001b[2Jhello'))).toBe('.[2Jhello');
  });
});
