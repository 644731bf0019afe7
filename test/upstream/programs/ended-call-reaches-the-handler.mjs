import { beginCall, framed, startHttp2Session } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let handled = 0;
  const { target } = await startTextServer({ unary: () => (handled += 1) });
  const session = await startHttp2Session(target);
  const stream = beginCall(session, 'Unary', { 'grpc-timeout': '50m' });
  let status;
  stream.on('response', (headers) => (status = headers['grpc-status']));
  stream.write(framed('request'));
  // Ends the request only after the call has ended with DEADLINE_EXCEEDED.
  if (!(await becomesTrue(60_000, () => status === '4')))
    throw new Error('the call did not end with DEADLINE_EXCEEDED');
  stream.end();
  return becomesTrue(60_000, () => handled === 1);
});
