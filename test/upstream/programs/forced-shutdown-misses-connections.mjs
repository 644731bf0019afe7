import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, startTextServer, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { server, target } = await startTextServer(
    { unary: () => server.forceShutdown() },
    { 'grpc.enable_channelz': 0 },
  );
  return (await answerOf(textClient(target), { deadline: Date.now() + 500 })).code === grpc.status.DEADLINE_EXCEEDED;
});
