import { once } from 'node:events';
import { connect, createServer, type ClientHttp2Session } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { waitFor } from '../../testing/wait-for.js';
import { isStopped } from './stopped-session.js';

/** Returns a SETTINGS frame. A length that is not a multiple of 6 is a protocol error. */
const settings = (length: number): Buffer =>
  Buffer.concat([Buffer.from([0, 0, length, 4, 0, 0, 0, 0, 0]), Buffer.alloc(length)]);

function sessionWith(server: { address(): unknown }): ClientHttp2Session {
  // Safe: the server listens on TCP.
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  session.on('error', () => undefined);
  onTestFinished(() => {
    session.destroy();
  });
  return session;
}

describe('isStopped()', () => {
  it('detects that an HTTP/2 session stopped after a protocol error that Node does not report', async () => {
    const server = createTcpServer((socket) => socket.on('error', () => undefined).write(settings(0)));
    onTestFinished(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const session = sessionWith(server);
    const connection = once(server, 'connection');
    await once(session, 'remoteSettings');
    expect(isStopped(session)).toBe(false);
    // Safe: 'connection' is emitted with the socket.
    const [socket] = (await connection) as [Socket];
    socket.write(settings(5));
    await waitFor(() => isStopped(session), { timeoutMs: 30_000 });
    expect(session.destroyed).toBe(false);
    session.destroy();
    expect(isStopped(session)).toBe(false);
  });

  it('detects a protocol error on a closed HTTP/2 session with an open stream', async () => {
    const server = createTcpServer((socket) => socket.on('error', () => undefined).write(settings(0)));
    onTestFinished(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const session = sessionWith(server);
    // Safe: 'connection' is emitted with the socket.
    const [socket] = (await once(server, 'connection')) as [Socket];
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => undefined);
    await waitFor(() => stream.state.state !== undefined && stream.state.state > 1, { timeoutMs: 30_000 });
    session.close();
    expect(isStopped(session)).toBe(false);
    socket.write(settings(5));
    await waitFor(() => isStopped(session), { timeoutMs: 30_000 });
    expect(session.destroyed).toBe(false);
  });

  it('does not treat a closed HTTP/2 session as stopped if its last response is unread', async () => {
    const server = createServer((_request, response) => void response.end(Buffer.alloc(100)));
    onTestFinished(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const session = sessionWith(server);
    const stream = session.request({ ':path': '/' });
    await once(stream, 'response');
    session.close();
    await waitFor(() => stream.state.state === 1, { timeoutMs: 30_000 });
    expect(stream.destroyed).toBe(false);
    expect(isStopped(session)).toBe(false);
    stream.resume();
    await once(session, 'close');
  });

  it('does not search the symbols of an HTTP/2 session if isStopped() has already checked another session', async () => {
    const server = createServer();
    onTestFinished(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const [first, second] = [sessionWith(server), sessionWith(server)];
    await Promise.all([once(first, 'remoteSettings'), once(second, 'remoteSettings')]);
    isStopped(first);
    const search = vi.spyOn(Object, 'getOwnPropertySymbols');
    onTestFinished(() => {
      search.mockRestore();
    });
    expect(isStopped(second)).toBe(false);
    expect(search).not.toHaveBeenCalledWith(second);
  });

  it('does not treat an HTTP/2 session as stopped while it is connecting, idle, in use, or closing', async () => {
    const server = createServer((_request, response) => void response.write('x'));
    onTestFinished(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const session = sessionWith(server);
    expect(isStopped(session)).toBe(false);
    await once(session, 'remoteSettings');
    expect(isStopped(session)).toBe(false);
    const stream = session.request({ ':path': '/' });
    await once(stream, 'response');
    expect(isStopped(session)).toBe(false);
    session.close();
    expect(isStopped(session)).toBe(false);
    stream.close();
    await once(session, 'close');
    expect(isStopped(session)).toBe(false);
  });
});
