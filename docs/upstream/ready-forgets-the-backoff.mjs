import { startHttp2Server } from './tools/plain-http2.mjs';
import { reproduce } from './tools/reproduce.mjs';
import { textClient } from './tools/text-service.mjs';
import { pass } from './tools/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let connections = 0;
  const { server, target } = await startHttp2Server(() => undefined);
  server.on('session', (session) => {
    connections += 1;
    session.once('remoteSettings', () => setImmediate(() => session.destroy()));
  });
  const client = textClient(target, { 'grpc.initial_reconnect_backoff_ms': 1_000 });
  client.unary('request', { deadline: Date.now() + 5_000 }, () => undefined);
  const waiting = setInterval(() => client.getChannel().getConnectivityState(true), 5);
  await pass(1_000);
  clearInterval(waiting);
  // By the backoff it would be two.
  return connections > 10;
});
