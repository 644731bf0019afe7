import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, startTextServer, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { server, port, target } = await startTextServer(
    {
      unary: (call, callback) => {
        server.drain(`127.0.0.1:${port}`, 10_000);
        setTimeout(() => callback(null, 'answer'), 800);
      },
    },
    { 'grpc.keepalive_time_ms': 300 },
  );
  return (await answerOf(textClient(target))).code === grpc.status.UNAVAILABLE;
});
