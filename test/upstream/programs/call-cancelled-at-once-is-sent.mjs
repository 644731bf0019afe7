import { reproduce } from './support/reproduce.mjs';
import { connected, startTextServer, textClient } from './support/text-service.mjs';
import { becomesTrue, delay } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let handled = 0;
  let cancelled = 0;
  const feed = (call) => {
    handled += 1;
    call.on('cancelled', () => (cancelled += 1));
  };
  const { target } = await startTextServer({ feed });
  const client = textClient(target);
  await connected(client);
  const call = client.feed('request');
  call.on('error', () => undefined);
  call.cancel();
  if (!(await becomesTrue(60_000, () => handled === 1))) return false;
  await delay(300);
  return cancelled === 0;
});
