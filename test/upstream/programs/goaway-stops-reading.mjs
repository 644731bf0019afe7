import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { delay, within } from './support/waiting.mjs';

const DELAY_MS = 200;

await reproduce('node', async () => {
  const { server } = await startHttp2Server((stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  // This proxy delays responses like a slow network.
  const network = net.createServer((near) => {
    const far = net.connect(server.address().port, '127.0.0.1');
    near.pipe(far);
    far.on('data', (bytes) => setTimeout(() => near.write(bytes), DELAY_MS));
  });
  network.listen(0, '127.0.0.1');
  await once(network, 'listening');
  const session = http2.connect(`http://127.0.0.1:${network.address().port}`);
  const [serverSession] = await once(server, 'session');
  await once(session, 'remoteSettings');
  // The first step of a graceful shutdown (RFC 9113, 6.8): it rejects no stream.
  serverSession.goaway(http2.constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1);
  await delay(DELAY_MS / 3);
  // The client has not received the GOAWAY yet.
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => undefined);
  const answered = once(stream, 'response').then(() => true);
  return !(await within(4 * DELAY_MS, answered, false));
});
