import grpc from '@grpc/grpc-js';
import { once } from 'node:events';
import net from 'node:net';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const silent = net.createServer((socket) => socket.resume());
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const client = textClient(`127.0.0.1:${silent.address().port}`);
  const channel = client.getChannel();
  // Timers of more than 1 s fire after 50 ms. If grpc-js had a connect timeout, the channel would therefore leave CONNECTING.
  const setTimer = globalThis.setTimeout;
  globalThis.setTimeout = (task, ms, ...rest) => setTimer(task, ms > 1_000 ? 50 : ms, ...rest);
  channel.getConnectivityState(true);
  await once(silent, 'connection');
  await new Promise((resolve) => setTimer(resolve, 500));
  return channel.getConnectivityState(false) === grpc.connectivityState.CONNECTING;
});
