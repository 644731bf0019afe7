import { connect } from 'node:http2';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, tap } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { serveOrders, startServers } from '../server/served-orders.js';
import { FrameServer, keyed, type FrameRequest } from '../support/frame-server.js';
import { FRAME, frame } from '../unit-support/frames.js';
import { failureOf, startClient, type EchoService, type EchoStub } from './support.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const OPTIONS = { metadata: keyed('call') };

async function startPeer(
  onRequest: (request: FrameRequest) => void,
): Promise<{ readonly server: FrameServer; readonly echo: EchoStub }> {
  const server = await FrameServer.start(onRequest);
  const client = await startClient({ url: server.url });
  return { server, echo: client.getService<EchoService>('Echo') };
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
