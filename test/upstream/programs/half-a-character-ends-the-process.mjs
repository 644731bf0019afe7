import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, startTextServer, textClient } from './support/text-service.mjs';
import { uncaught, within } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({
    // The text ends between the two UTF-16 code units of an emoji.
    unary: (call, callback) =>
      setImmediate(() => callback({ code: grpc.status.NOT_FOUND, details: 'no 🍵'.slice(0, 4) })),
  });
  const ends = uncaught().then(() => true);
  void answerOf(textClient(target), { deadline: Date.now() + 60_000 });
  return within(60_000, ends, false);
});
