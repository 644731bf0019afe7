import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import http2 from 'node:http2';
import tls from 'node:tls';
import { reproduce } from './support/reproduce.mjs';
import { delay, within } from './support/waiting.mjs';

const pem = (name) => readFileSync(new URL(`../../fixtures/tls/${name}.pem`, import.meta.url));

/** Returns an HTTP/2 frame with a payload of zeros. */
function frame(type, length) {
  const made = Buffer.alloc(9 + length);
  made.writeUIntBE(length, 0, 3);
  made.writeUInt8(type, 3);
  return made;
}
const SETTINGS = frame(4, 0);
const PING = frame(6, 8);
const UNKNOWN = frame(0xfa, 16_384);

const OPTIONS = { key: pem('server-key'), cert: pem('server'), ALPNProtocols: ['h2'] };

/** Resolves to true if a session does not detect that its peer has reset the connection. */
async function missesReset() {
  let tcp;
  const server = tls.createServer(OPTIONS).listen(0, '127.0.0.1');
  server.on('connection', (socket) => (tcp = socket));
  server.on('secureConnection', (socket) => socket.on('error', () => undefined).write(SETTINGS));
  await once(server, 'listening');

  const session = http2.connect(`https://localhost:${server.address().port}`, { rejectUnauthorized: false });
  const ended = new Promise((resolve) => {
    session.on('error', () => resolve(true));
    session.on('close', () => resolve(true));
  });
  const [secured] = await once(server, 'secureConnection');
  await once(session, 'remoteSettings');
  session.request({ ':path': '/' }).on('error', () => undefined);
  // Waits until the request has been written.
  await delay(50);
  // TLS splits these frames into two records, each of which requires a response. The write of the first response fails because of the
  // reset; the second response waits for that write.
  secured.write(Buffer.concat([PING, UNKNOWN, PING]));
  tcp.resetAndDestroy();
  return !(await within(800, ended, false));
}

await reproduce('node', async () => {
  for (let reset = 0; reset < 5; reset += 1) if (await missesReset()) return true;
  return false;
});
