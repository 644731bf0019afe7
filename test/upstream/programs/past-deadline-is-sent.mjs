import { reproduce } from './support/reproduce.mjs';
import { answerOf, connected, startTextServer, textClient } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let handled = 0;
  const { target } = await startTextServer({
    unary: (call, callback) => {
      handled += 1;
      callback(null, 'answer');
    },
  });
  const client = textClient(target);
  await connected(client);
  await answerOf(client, { deadline: Date.now() - 1_000 });
  return becomesTrue(60_000, () => handled === 1);
});
