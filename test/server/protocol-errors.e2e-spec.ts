import { once } from 'node:events';
import { connect } from 'node:net';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { it, onTestFinished } from 'vitest';
import { FRAME, PREFACE, frame, headers, settings } from '../unit-support/frames.js';
import { recordTiming } from '../support/timing.js';
import { NestServer } from './support/nest-server.js';

const PATIENTLY = { timeoutMs: 25_000 };

it(
  'closes the connection and ends the handlers of a client that violates HTTP/2 and keeps its socket open',
  { tags: ['timed'] },
  async ({ task }) => {
    const server = await NestServer.start();
    onTestFinished(() => server.close());
    const socket = connect(server.port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'connect');
    const watch = headers(1, {
      ':method': 'POST',
      ':scheme': 'http',
      ':authority': 'localhost',
      ':path': '/orders.v1.Orders/Watch',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    socket.write(Buffer.concat([PREFACE, settings(), watch, frame(FRAME.data, 1, 1, Buffer.alloc(5))]));
    await waitFor(async () => (await server.counts()).streams === 1, PATIENTLY);
    const writtenAt = performance.now();
    socket.write(frame(FRAME.settings, 0, 0, Buffer.alloc(5)));
    // This client answers no pings, so keepalive would also close the connection, but only after more than 60 s.
    await waitFor(() => socket.closed, PATIENTLY);
    // The server keeps the connection for 1 s, so that a client at fault is not back at once.
    recordTiming(task, 'time from a protocol error until the connection is closed, ms', performance.now() - writtenAt, {
      atMost: 1_500,
    });
    await waitFor(async () => (await server.counts()).streams === 0, PATIENTLY);
  },
);
