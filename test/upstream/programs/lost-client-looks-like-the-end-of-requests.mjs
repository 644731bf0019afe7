import { beginCall, framed, startHttp2Session } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer } from './support/text-service.mjs';
import { within } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let onMessage;
  const reading = new Promise((resolve) => (onMessage = resolve));
  let onEnd;
  const completed = new Promise((resolve) => (onEnd = resolve));
  const { target } = await startTextServer({
    upload: async (call) => {
      try {
        for await (const message of call) onMessage(message);
        onEnd(true);
      } catch {
        onEnd(false);
      }
    },
  });
  const session = await startHttp2Session(target);
  beginCall(session, 'Upload').write(framed('the first of many'));
  await reading;
  session.destroy();
  return within(60_000, completed, false);
});
