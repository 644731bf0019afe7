import { once } from 'node:events';
import http2 from 'node:http2';
import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { within } from './support/waiting.mjs';

const WINDOW = 2 ** 30;
/** A body that is larger than the buffers of both sockets together. */
const BODY = Buffer.alloc(32 * 1024 * 1024);
const LIMIT_MS = 10_000;

/** Resolves to true if a client that sends `request` receives the whole response. */
async function isAnswered(request) {
  const settings = { initialWindowSize: WINDOW };
  const { server, target } = await startHttp2Server(
    (stream) => {
      stream.respond();
      stream.resume().end(BODY);
    },
    { settings },
  );
  server.on('session', (session) => session.setLocalWindowSize(WINDOW));
  const session = http2.connect(`http://${target}`, { settings });
  await once(session, 'remoteSettings');
  session.setLocalWindowSize(WINDOW);
  // The response to this ping shows that the server has processed the WINDOW_UPDATE.
  await new Promise((resolve) => session.ping(resolve));
  const stream = session.request({ ':method': 'POST', ':path': '/' });
  stream.on('error', () => undefined).end(request);
  return within(
    LIMIT_MS,
    once(stream.resume(), 'end').then(() => true),
    false,
  );
}

await reproduce('node', async () => {
  if (!(await isAnswered(Buffer.alloc(0))))
    throw new Error('expected the whole response to an empty request within 10 s');
  return !(await isAnswered(BODY));
});
