import { once } from 'node:events';
import { connect, createServer, type ClientHttp2Session, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeClosedStreamListeners } from './closed-stream-listeners.js';

describe('removeClosedStreamListeners', () => {
  let server: Http2Server;
  let session: ClientHttp2Session;
  let answer: (stream: ServerHttp2Stream, path?: string) => void;

  beforeEach(async () => {
    server = createServer().listen(0, '127.0.0.1');
    server.on('stream', (stream, headers) => {
      answer(
        stream.on('error', () => undefined),
        headers[':path'],
      );
    });
    await once(server, 'listening');
    // Safe: the server listens on TCP.
    session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await once(session, 'connect');
    removeClosedStreamListeners(session);
  });
  afterEach(async () => {
    session.destroy();
    server.close();
    await once(server, 'close');
  });

  it('removes the listeners of a stream only after all its events are delivered in sequence', async () => {
    answer = (stream, path) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': '0' });
      });
      // Sends the message only after the end of the request.
      stream.resume().on('end', () => stream.end(path));
    };
    const stream = session.request({ ':method': 'POST', ':path': '/greeting' }, { endStream: true });
    const events: string[] = [];
    for (const event of ['response', 'data', 'trailers', 'end', 'close'])
      stream.on(event, () => void events.push(event));
    stream.on('data', (answer) => void events.push(String(answer)));
    // The library's own 'close' listener removes all listeners. The listener below is added last, and must still run.
    await once(stream, 'close');
    expect(events).toEqual(['response', 'data', '/greeting', 'trailers', 'end', 'close']);
    expect(stream.eventNames()).toEqual(['error']);
  });

  it('does not crash the process if a stream emits an error after its listeners were removed', async () => {
    answer = (stream) => {
      stream.close(7);
    };
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    const failed = once(stream, 'error');
    const closed = once(stream, 'close').catch(() => undefined);
    expect(await failed).toMatchObject([{ code: 'ERR_HTTP2_STREAM_ERROR' }]);
    await closed;
    expect(stream.rstCode).toBe(7);
    stream.emit('error', new Error('late'));
  });

  it('removes the listeners of a stream when its HTTP/2 session ends', async () => {
    answer = (stream) => {
      stream.respond({ ':status': 200 });
    };
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    stream.on('data', () => undefined);
    await once(stream, 'response');
    const closed = new Promise<void>((resolve) => stream.on('close', resolve));
    stream.on('error', () => undefined);
    session.destroy(new Error('lost'));
    session.on('error', () => undefined);
    await closed;
    expect(stream.eventNames()).toEqual(['error']);
  });
});

it('ignores an HTTP/2 session that lacks request(), because another version of grpc-js may have such sessions', () => {
  const session = {};
  removeClosedStreamListeners(session);
  expect(session).toEqual({});
});
