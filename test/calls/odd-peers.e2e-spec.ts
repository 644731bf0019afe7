import { connect } from 'node:http2';
import { GrpcCallError, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, tap } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { serveOrders, startServers } from '../server/served-orders.js';
import { FrameServer, keyed, type FrameRequest } from '../support/frame-server.js';
import { repeatUntil } from '../support/repeat-until.js';
import { FLAG, FRAME, fieldBlock, frame, headers, windowUpdate } from '../unit-support/frames.js';
import { failureOf, startClient, startServer, type EchoService, type EchoStub } from './support.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const OPTIONS = { metadata: keyed('call') };

async function startPeer(
  onRequest: (request: FrameRequest) => void,
  options: Parameters<typeof FrameServer.start>[1] = {},
): Promise<{ readonly server: FrameServer; readonly client: ResilientGrpcClient; readonly echo: EchoStub }> {
  const server = await FrameServer.start(onRequest, options);
  const client = await startClient({ url: server.url });
  return { server, client, echo: client.getService<EchoService>('Echo') };
}

/** Makes `count` calls, of which `atOnce` run at once, and counts how they failed. */
async function failures(echo: EchoStub, count: number, atOnce: number): Promise<Record<string, number>> {
  const ends: Record<string, number> = {};
  let begun = 0;
  const one = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      const { codeName, reason } = await failureOf(echo.unsafeUnary({}, OPTIONS));
      const end = `${codeName} ${reason}`;
      ends[end] = (ends[end] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return ends;
}

it('keeps its connection to a server that resets each stream after its answer', async () => {
  const { server, echo } = await startPeer((request) => {
    request.connection.write(request.status({ 'grpc-status': '16' }), request.reset(0));
  });
  expect(await failures(echo, 20_000, 100)).toEqual({ 'UNAUTHENTICATED server': 20_000 });
  expect(server.connections).toHaveLength(1);
});

describe('a proxy that renews its connection after each 50 requests', () => {
  it('is no outage if it answers without gRPC', async () => {
    const { server, echo } = await startPeer((request) => {
      const { connection } = request;
      connection.write(request.status({ ':status': '404', 'content-type': 'text/html' }));
      if (connection.requests.length === 50) connection.goaway(request.streamId);
    });
    expect(await failures(echo, 1_000, 5)).toEqual({ 'UNIMPLEMENTED http': 1_000 });
    expect(server.connections.length).toBeGreaterThanOrEqual(20);
  });

  it('is no outage if it resets each stream', async () => {
    const { server, echo } = await startPeer((request) => {
      const { connection } = request;
      connection.write(request.reset(11));
      if (connection.requests.length === 50) connection.goaway(request.streamId);
    });
    const ends = await failures(echo, 1_000, 5);
    expect(Object.keys(ends)).not.toContain('UNAVAILABLE outage');
    expect(server.connections.length).toBeGreaterThanOrEqual(20);
  });
});

it('ends only the call whose trailers are far too large', async () => {
  const { server, echo } = await startPeer((request) => {
    const { connection, streamId } = request;
    if (request.key === 'other') return;
    const block = fieldBlock({ 'grpc-status': '13', 'x-stack': 's'.repeat(1_000_000) });
    const parts = Array.from({ length: Math.ceil(block.length / 16_384) }, (_, i) =>
      block.subarray(16_384 * i, 16_384 * (i + 1)),
    );
    const frames = parts.map((part, i) => {
      const flags = (i === 0 ? FLAG.endStream : 0) | (i === parts.length - 1 ? FLAG.endHeaders : 0);
      return frame(i === 0 ? FRAME.headers : FRAME.continuation, flags, streamId, part);
    });
    connection.write(request.headers(), ...frames);
    for (const other of connection.requests) if (other.key === 'other') connection.write(other.success());
  });
  const other = firstValueFrom(echo.unary({}, { metadata: keyed('other') }));
  await waitFor(() => server.requests('other').length === 1);
  const error = await failureOf(echo.unary({}, OPTIONS));
  expect(error).toMatchObject({ codeName: 'RESOURCE_EXHAUSTED', reason: 'protocol' });
  expect(await other).toEqual({});
  expect(server.connections).toHaveLength(1);
});

it('blames the number of metadata fields, and not the load, if a server on Node refuses them', async () => {
  const server = await startServer();
  const client = await startClient({ url: server.url });
  const metadata = Object.fromEntries(Array.from({ length: 130 }, (_, i) => [`x-${String(i)}`, 'v']));
  const error = await failureOf(client.getService<EchoService>('Echo').unary({}, { metadata }));
  expect(error).toMatchObject({ codeName: 'RESOURCE_EXHAUSTED', reason: 'not-sent', notRetriedBecause: 'local' });
  expect(error.message).toContain('has 139 header fields; servers on Node take at most 128');
});

it('sends metadata without spaces at their ends, because a server on Node drops them otherwise', async () => {
  let received: unknown;
  const server = await startServer({
    scripts: {
      Unary: ({ metadata }) => {
        received = [metadata.get('x-lead'), metadata.get('x-tail'), metadata.get('x-inner')];
        return { message: {} };
      },
    },
  });
  const client = await startClient({ url: server.url });
  const metadata = { 'x-lead': ' a', 'x-tail': ['b ', ' c'], 'x-inner': 'd  e' };
  await firstValueFrom(client.getService<EchoService>('Echo').unary({}, { metadata }));
  expect(received).toEqual([['a'], ['b, c'], ['d  e']]);
});

describe('a server that gives no window of the connection', () => {
  it('is named in the error and in the open calls, and replaced', async () => {
    const { server, echo, client } = await startPeer(
      (request) => {
        request.connection.write(request.success());
      },
      { connectionWindow: 0, atEnd: true },
    );
    const large = { text: 'x'.repeat(1_000) };
    const errors: GrpcCallError[] = [];
    const call = async (): Promise<void> => {
      const end = await firstValueFrom(echo.unary(large, { ...OPTIONS, timeoutMs: 500 })).catch(
        (error: unknown) => error,
      );
      if (end instanceof GrpcCallError) errors.push(end);
    };
    while (errors.length === 0) await call();
    expect(errors[0]?.message).toContain('no window of the connection');
    const waiting = call();
    await waitFor(() => client.activeCalls()[0]?.stalledBy === 'connection-window');
    await waiting;
    await repeatUntil('another connection', async () => {
      await call();
      return server.connections.length > 1;
    });
    const before = errors.length;
    await call();
    expect(errors).toHaveLength(before);
  });
});

it.each([
  ['order%20%2342%20not%20found%3F', 'order #42 not found?'],
  ['https%3A%2F%2Fa%2Fb%3Fc%26d', 'https://a/b?c&d'],
  ['50% of caf%C3%A9', '50% of café'],
  ['%e2%82%aC', '€'],
  ['caf%ff%C3%A9', 'caf\ufffdé'],
  ['%C3 cut, %zz, %4, and %', '\ufffd cut, %zz, %4, and %'],
])('decodes the status text %j', async (text, decoded) => {
  const { echo } = await startPeer((request) => {
    request.connection.write(request.status({ 'grpc-status': '5', 'grpc-message': text }));
  });
  expect(await failureOf(echo.unary({}, OPTIONS))).toMatchObject({ codeName: 'NOT_FOUND', details: decoded });
});

it.each([
  // Its stream has the initial window, and gets no other.
  ['stream-window', 'no window of its stream', {}, () => undefined],
  [
    'socket',
    'the peer takes no more bytes',
    { connectionWindow: 2 ** 30 },
    ({ connection, streamId }: FrameRequest) => {
      connection.write(windowUpdate(streamId, 2 ** 30));
      connection.socket.pause();
    },
  ],
] as const)(
  'names what a request waits for in the open calls and in the error: %s',
  async (stalledBy, text, options, onRequest) => {
    const { echo, client } = await startPeer(onRequest, options);
    const failed = failureOf(echo.unary({ text: 'x'.repeat(20_000_000) }, { ...OPTIONS, timeoutMs: 1_000 }));
    await waitFor(() => client.activeCalls()[0]?.stalledBy === stalledBy);
    expect((await failed).message).toContain(text);
  },
);

it.each(['', '0x0', '0e0', '+0', ' 0', '-0'])(
  'takes the status %j, which is no decimal number, for no success',
  async (text) => {
    const { echo } = await startPeer((request) => {
      const trailers = headers(request.streamId, [['grpc-status', text]], FLAG.endStream);
      request.connection.write(request.headers(), request.message(), trailers);
    });
    expect(await failureOf(echo.unary({}, OPTIONS))).toMatchObject({ codeName: 'UNKNOWN', reason: 'protocol' });
  },
);

describe('a status in headers that an empty DATA frame follows', () => {
  const REFUSED = { 'grpc-status': '7', 'grpc-message': 'not yours' };
  const EXPECTED = { codeName: 'PERMISSION_DENIED', details: 'not yours', reason: 'server' };

  it('ends the call', async () => {
    const { echo } = await startPeer((request) => {
      request.connection.write(request.headers(REFUSED), request.end());
    });
    expect(await failureOf(echo.unary({}, OPTIONS))).toMatchObject(EXPECTED);
  });

  it('ends the call after its messages', async () => {
    const { echo } = await startPeer((request) => {
      request.connection.write(request.headers(REFUSED), request.message(), request.end());
    });
    const messages: unknown[] = [];
    const call = echo.serverStream({}, OPTIONS).pipe(tap((message) => messages.push(message)));
    expect(await failureOf(call)).toMatchObject(EXPECTED);
    expect(messages).toEqual([{}]);
  });

  it('completes a call that succeeds', async () => {
    const { echo } = await startPeer((request) => {
      request.connection.write(request.headers({ 'grpc-status': '0' }), request.message(), request.end());
    });
    expect(await firstValueFrom(echo.unary({}, OPTIONS))).toEqual({});
  });
});

describe('a compressed message of 0 bytes', () => {
  const EMPTY = Buffer.from([1, 0, 0, 0, 0]);

  it.each(['gzip', 'deflate'])('is a message without fields for a client (%s)', async (encoding) => {
    const { echo } = await startPeer((request) => {
      const message = frame(FRAME.data, 0, request.streamId, EMPTY);
      request.connection.write(request.headers({ 'grpc-encoding': encoding }), message, request.trailers(0));
    });
    expect(await firstValueFrom(echo.unary({}, OPTIONS))).toEqual({});
  });

  it.each(['gzip', 'deflate'])('is a message without fields for a server (%s)', async (encoding) => {
    const { server } = await startServers(await serveOrders({ url: '127.0.0.1:0' }));
    const session = connect(`http://127.0.0.1:${String(server.port)}`);
    onTestFinished(() => {
      session.destroy();
    });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/orders.v1.Orders/Get',
      'content-type': 'application/grpc',
      'grpc-encoding': encoding,
      te: 'trailers',
    });
    const statuses: unknown[] = [];
    for (const event of ['response', 'trailers'])
      stream.on(event, ({ 'grpc-status': status }: Record<string, unknown>) => statuses.push(status));
    stream.end(EMPTY);
    const response: Buffer[] = [];
    for await (const bytes of stream) response.push(bytes as Buffer);
    // The handler returns the id of its request.
    expect([statuses, Buffer.concat(response)]).toEqual([[undefined, '0'], Buffer.alloc(5)]);
  });
});
