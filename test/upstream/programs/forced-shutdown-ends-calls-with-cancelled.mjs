import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, startTextServer, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { server, target } = await startTextServer({ unary: () => server.forceShutdown() });
  return (await answerOf(textClient(target))).code === grpc.status.CANCELLED;
});
