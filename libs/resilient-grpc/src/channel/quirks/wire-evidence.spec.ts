import { once } from 'node:events';
import { createServer } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { Channel, Metadata, credentials } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { waitFor } from '../../testing/wait-for.js';
import { isWithoutStream, mayCreateStream } from './wire-evidence.js';

// This test uses the installed grpc-js. It must fail on a version without the private names that wire-evidence.ts reads.

it('distinguishes a channel call that has a stream from a channel call that may still create its stream', async () => {
  const http2 = createServer();
  const accepted: Socket[] = [];
  const tcp = createTcpServer((socket) => accepted.push(socket.on('error', () => undefined)));
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  // Safe: the server listens on TCP.
  const channel = new Channel(`127.0.0.1:${(tcp.address() as AddressInfo).port}`, credentials.createInsecure(), {});
  onTestFinished(async () => {
    channel.close();
    for (const socket of accepted) socket.destroy();
    await new Promise((resolve) => tcp.close(resolve));
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
  call.halfClose();
  // The server has not sent SETTINGS yet, so the call waits.
  await waitFor(() => accepted.length === 1 && isWithoutStream(call));
  expect(judge()).toEqual([true, true]);
  const streamed = once(http2, 'stream');
  http2.emit('connection', accepted[0]);
  const [stream] = (await streamed) as [NodeJS.EventEmitter];
  stream.on('error', () => undefined);
  expect(judge()).toEqual([false, false]);
  call.cancelWithStatus(1, 'the test has ended');
  await ended;
});
