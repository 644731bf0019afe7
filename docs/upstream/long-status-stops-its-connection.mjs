import grpc from '@grpc/grpc-js';
import { reproduce } from './tools/reproduce.mjs';
import { answerOf, startTextServer, textClient } from './tools/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let calls = 0;
  const { target } = await startTextServer({
    unary: (call, callback) => {
      calls += 1;
      if (calls === 1) callback({ code: grpc.status.NOT_FOUND, details: 'no order '.repeat(10_000) });
      else callback(null, 'answer');
    },
  });
  const client = textClient(target, { 'grpc.max_metadata_size': 1_000_000 });
  const first = await answerOf(client, { deadline: Date.now() + 300 });
  const second = await answerOf(client, { deadline: Date.now() + 300 });
  return first.code === grpc.status.DEADLINE_EXCEEDED && second.code === grpc.status.DEADLINE_EXCEEDED;
});
