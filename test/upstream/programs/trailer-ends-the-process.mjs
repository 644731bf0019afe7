import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, startTextServer, textClient } from './support/text-service.mjs';
import { uncaught, within } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({
    unary: (call, callback) => {
      const metadata = new grpc.Metadata();
      // For example, a header of a relayed HTTP request.
      metadata.set('connection', 'close');
      setImmediate(() => callback({ code: grpc.status.NOT_FOUND, details: 'no order', metadata }));
    },
  });
  const ends = uncaught().then(() => true);
  const answered = answerOf(textClient(target), { deadline: Date.now() + 60_000 });
  return within(60_000, Promise.race([ends, answered.then(({ code }) => code !== grpc.status.NOT_FOUND)]), false);
});
