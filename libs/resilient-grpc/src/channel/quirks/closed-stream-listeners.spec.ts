import { once } from 'node:events';
import { connect, createServer, type ClientHttp2Session, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeClosedStreamListeners } from './closed-stream-listeners.js';

describe('a stream of a session', () => {
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
    // True: it listens on a port.
    session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await once(session, 'connect');
    removeClosedStreamListeners(session);
  });
  afterEach(async () => {
    session.destroy();
    server.close();
    await once(server, 'close');
  });

  it('tells whoever listens all there is to tell, in order, and then forgets him', async () => {
    answer = (stream, path) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': '0' });
      });
      // When the request has ended.
      stream.resume().on('end', () => stream.end(path));
    };
    const stream = session.request({ ':method': 'POST', ':path': '/greeting' }, { endStream: true });
    const told: string[] = [];
    for (const event of ['response', 'data', 'trailers', 'end', 'close']) stream.on(event, () => void told.push(event));
    stream.on('data', (answer) => void told.push(String(answer)));
    // Whoever listens to the very event in which all are forgotten, last of all.
    await once(stream, 'close');
    expect(told).toEqual(['response', 'data', '/greeting', 'trailers', 'end', 'close']);
    expect(stream.eventNames()).toEqual(['error']);
  });

  it('that fails tells its error before, and no error behind ends the process', async () => {
    answer = (stream) => {
      stream.close(7);
    };
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    const failed = once(stream, 'error');
    const closed = once(stream, 'close').catch(() => undefined);
    expect(await failed).toMatchObject([{ code: 'ERR_HTTP2_STREAM_ERROR' }]);
    await closed;
    expect(stream.rstCode).toBe(7);
    stream.emit('error', new Error('behind'));
  });

  it('of a session that ends forgets as well', async () => {
    answer = (stream) => {
      stream.respond({ ':status': 200 });
    };
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    stream.on('data', () => undefined);
    await once(stream, 'response');
    const closed = new Promise<void>((resolve) => stream.on('close', resolve));
    stream.on('error', () => undefined);
    session.destroy(new Error('gone'));
    session.on('error', () => undefined);
    await closed;
    expect(stream.eventNames()).toEqual(['error']);
  });
});

it('a session without requests, as another grpc-js may have it, is left alone', () => {
  const session = {};
  removeClosedStreamListeners(session);
  expect(session).toEqual({});
});
