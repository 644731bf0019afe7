import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { reproduce } from './support/reproduce.mjs';
import { delay, within } from './support/waiting.mjs';

/** Returns a SETTINGS frame with a payload of `length` bytes. Any length other than a multiple of 6 is a protocol error. */
const settings = (length) => Buffer.concat([Buffer.from([0, 0, length, 4, 0, 0, 0, 0, 0]), Buffer.alloc(length)]);

await reproduce('node', async () => {
  const server = net.createServer((socket) => socket.write(settings(0)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = http2.connect(`http://127.0.0.1:${server.address().port}`);
  session.on('error', () => undefined);
  const connection = once(server, 'connection');
  await once(session, 'remoteSettings');
  const [socket] = await connection;
  socket.on('error', () => undefined);
  socket.write(settings(5));
  await delay(100);
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => undefined);
  socket.destroy();
  const ended = once(stream, 'close').then(() => true);
  return !(await within(1_000, ended, false));
});
