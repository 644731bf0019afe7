import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, connected, startTextServer, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({
    unary: (call, callback) => setTimeout(() => callback(null, 'answer'), 800),
  });
  const client = textClient(target, { 'grpc.keepalive_time_ms': 300 });
  await connected(client);
  const answer = answerOf(client);
  setTimeout(() => client.close(), 50);
  return (await answer).code === grpc.status.UNAVAILABLE;
});
