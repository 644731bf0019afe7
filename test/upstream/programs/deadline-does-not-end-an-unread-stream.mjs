import { beginCall, framed, startHttp2Session } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let blocked = false;
  const { target } = await startTextServer({
    feed: (call) => {
      while (call.write('a message '.repeat(1_000)));
      blocked = true;
    },
  });
  const session = await startHttp2Session(target);
  // The client does not read, and does not enforce its deadline.
  const stream = beginCall(session, 'Feed', { 'grpc-timeout': '200m' });
  stream.end(framed('request'));
  if (!(await becomesTrue(60_000, () => blocked))) throw new Error('no handler was called');
  return !(await becomesTrue(1_000, () => stream.closed));
});
