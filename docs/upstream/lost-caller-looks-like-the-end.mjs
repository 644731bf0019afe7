import { beginCall, framed, startHttp2Session } from './tools/plain-http2.mjs';
import { reproduce } from './tools/reproduce.mjs';
import { startTextServer } from './tools/text-service.mjs';
import { within } from './tools/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let begun;
  const reading = new Promise((resolve) => (begun = resolve));
  let tell;
  const completed = new Promise((resolve) => (tell = resolve));
  const { target } = await startTextServer({
    upload: async (call) => {
      try {
        for await (const message of call) begun(message);
        tell(true);
      } catch {
        tell(false);
      }
    },
  });
  const session = await startHttp2Session(target);
  beginCall(session, 'Upload').write(framed('the first of many'));
  await reading;
  session.destroy();
  return within(60_000, completed, false);
});
