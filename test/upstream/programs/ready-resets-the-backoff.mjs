import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let connections = 0;
  const { server, target } = await startHttp2Server(() => undefined);
  server.on('session', (session) => {
    connections += 1;
    // The server crashes as soon as the connection is READY.
    session.once('remoteSettings', () => setImmediate(() => session.destroy()));
  });
  const client = textClient(target, {
    'grpc.initial_reconnect_backoff_ms': 30_000,
    'grpc.max_reconnect_backoff_ms': 30_000,
  });
  // Requests a new connection within 5 ms whenever the channel is idle.
  setInterval(() => client.getChannel().getConnectivityState(true), 5);
  // With the backoff, the third attempt would start after at least 54 s.
  return becomesTrue(60_000, () => connections >= 5);
});
