import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, startTextServer, textClient } from './support/text-service.mjs';
import { becomesTrue, within } from './support/waiting.mjs';

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
  const first = answerOf(client);
  if (!(await becomesTrue(60_000, () => calls === 1))) throw new Error('no handler was called');
  const second = await answerOf(client, { deadline: Date.now() + 1_000 });
  // With Node 20, the server sends neither the status nor anything after it. With Node 22 and later, the client cannot read the status and
  // closes the connection.
  const answered = first.then(({ code }) => code === grpc.status.NOT_FOUND);
  return second !== 'answer' && !(await within(0, answered, false));
});
