import { waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { failureOf, startClient, turns, type EchoStub } from '../calls/support.js';
import { FrameServer, keyed } from '../support/frame-server.js';
import { FRAME, frame } from '../unit-support/frames.js';
import { recordTiming } from '../support/timing.js';

/** Connection errors that Node does not report to the session. */
const ERRORS = [
  ['SETTINGS of 5 bytes', frame(FRAME.settings, 0, 0, Buffer.alloc(5))],
  ['an HTTP/1.1 response', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n<html>')],
] as const;

async function echoOf(server: FrameServer): Promise<EchoStub> {
  const client = await startClient({ url: server.url });
  return client.getService('Echo');
}

/** Resolves when the client has read everything that the server wrote, or has stopped reading. */
const read = turns;

it.each(ERRORS)('sends the next call on a new connection after %s', async (_what, bytes) => {
  const server = await FrameServer.start((request) => request.connection.write(request.success()));
  const echo = await echoOf(server);
  await lastValueFrom(echo.unsafeUnary({}, { metadata: keyed('first') }));
  server.connections[0]?.write(bytes);
  await read();
  await lastValueFrom(echo.unsafeUnary({}, { metadata: keyed('next') }));
  expect(server.requests('next')).toHaveLength(1);
  expect(server.connections).toHaveLength(2);
});

describe('protocol error that Node does not report', () => {
  const [[, error]] = ERRORS;

  it(
    'fails a stream without a deadline as connection-lost after a protocol error',
    { tags: ['timed'] },
    async ({ task }) => {
      const server = await FrameServer.start((request) => {
        request.connection.write(request.headers(), request.message());
      });
      const echo = await echoOf(server);
      const failed = failureOf(echo.serverStream({}, { metadata: keyed('stream') }));
      await waitFor(() => server.requests('stream').length === 1, { timeoutMs: 30_000 });
      const writtenAt = performance.now();
      server.connections[0]?.write(error);
      expect(await failed).toMatchObject({ reason: 'connection-lost', reachedServer: 'yes' });
      recordTiming(task, 'time from a protocol error until the stream fails, ms', performance.now() - writtenAt, {
        atMost: 500,
      });
    },
  );

  it('fails a stream after a protocol error on a connection that has already received GOAWAY', async () => {
    const server = await FrameServer.start((request) => {
      request.connection.write(request.headers(), request.message());
    });
    const echo = await echoOf(server);
    const failed = failureOf(echo.serverStream({}, { metadata: keyed('stream') }));
    await waitFor(() => server.requests('stream').length === 1, { timeoutMs: 30_000 });
    const [connection] = server.connections;
    connection?.goaway(1);
    await connection?.waitUntilRead();
    connection?.write(error);
    expect(await failed).toMatchObject({ reason: 'connection-lost', reachedServer: 'yes' });
  });

  it('fails a sent, unanswered call with reachedServer `maybe` after a protocol error', async () => {
    const server = await FrameServer.start((request) => {
      if (request.key === 'next') request.connection.write(request.success());
    });
    const echo = await echoOf(server);
    const failed = failureOf(echo.unsafeUnary({}, { metadata: keyed('sent'), timeoutMs: 600_000 }));
    await waitFor(() => server.requests('sent').length === 1, { timeoutMs: 30_000 });
    server.connections[0]?.write(error);
    expect(await failed).toMatchObject({ reason: 'connection-lost', reachedServer: 'maybe' });
    await lastValueFrom(echo.unsafeUnary({}, { metadata: keyed('next') }));
    expect(server.requests('sent')).toHaveLength(1);
  });
});
