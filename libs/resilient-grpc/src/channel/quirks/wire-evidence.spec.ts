import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Channel, Metadata, credentials } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { waitFor } from '../../testing/wait-for.js';
import { isWithoutStream, mayCreateStream } from './wire-evidence.js';

// Runs on the installed grpc-js. It must fail on a version without the private names.

it('distinguishes a call of a channel that has a stream from one that may still create its stream', async () => {
  const server = createServer();
  server.on('stream', (stream) => stream.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  // Safe: the server listens on TCP.
  const channel = new Channel(`127.0.0.1:${(server.address() as AddressInfo).port}`, credentials.createInsecure(), {});
  onTestFinished(() => {
    channel.close();
  });
  const call = channel.createCall('/a.B/C', Infinity, null, null, null);
  const judge = () => [mayCreateStream(call), isWithoutStream(call)];
  expect(judge()).toEqual([true, false]);
  const ended = new Promise((resolve) => {
    call.start(new Metadata(), {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: () => undefined,
      onReceiveStatus: resolve,
    });
  });
  await waitFor(() => isWithoutStream(call));
  expect(judge()).toEqual([true, true]);
  const streamed = once(server, 'stream');
  call.halfClose();
  await streamed;
  expect(judge()).toEqual([false, false]);
  call.cancelWithStatus(1, 'the test has ended');
  await ended;
});
