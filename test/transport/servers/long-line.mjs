// A proxy that delays bytes in each direction: long-line.mjs path upstream milliseconds. It takes bytes as fast as they come, so only the
// windows of HTTP/2 limit what is under way.
import { connect, createServer } from 'node:net';

const [path, upstream, delayMs] = process.argv.slice(2);

/** @param {import('node:net').Socket} from @param {import('node:net').Socket} to */
function forward(from, to) {
  const later = (/** @type {() => void} */ act) => setTimeout(act, Number(delayMs));
  from.on('data', (bytes) => later(() => to.write(bytes)));
  from.on('end', () => later(() => to.end()));
  from.on('error', () => to.destroy());
}

createServer({ allowHalfOpen: true }, (client) => {
  const server = connect({ path: upstream ?? '', allowHalfOpen: true });
  forward(client, server);
  forward(server, client);
}).listen(path);
process.once('SIGTERM', () => process.exit());
