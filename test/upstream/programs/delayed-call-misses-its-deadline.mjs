import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, connected, startTextServer, textClient } from './support/text-service.mjs';
import { delay, within } from './support/waiting.mjs';

/** Starts a call after its deadline, like an interceptor that waits for a token. */
const delayStart = (options, nextCall) =>
  new grpc.InterceptingCall(nextCall(options), {
    start: (metadata, listener, next) => {
      void delay(400).then(() => next(metadata, listener));
    },
  });

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({ unary: (call, callback) => callback(null, 'answer') });
  const client = textClient(target);
  await connected(client);
  const answer = answerOf(client, { deadline: Date.now() + 100, interceptors: [delayStart] });
  return within(
    1_000,
    answer.then(() => false),
    true,
  );
});
