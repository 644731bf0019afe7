import { reproduce } from './support/reproduce.mjs';
import { answerOf, connected, startTextServer, textClient } from './support/text-service.mjs';
import { uncaught, within } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({ unary: (call, callback) => callback(null, 'answer') });
  const client = textClient(target);
  await connected(client);
  const ends = uncaught().then(() => true);
  void answerOf(client, { deadline: Date.now() + 1.1e8 * 3_600_000 });
  return within(60_000, ends, false);
});
