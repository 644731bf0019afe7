// Copied next to the programs in the docs, some of which query DNS.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/**
 * Starts a name server on loopback that answers every query with one TXT record.
 *
 * @param {string} record
 */
export async function nameServer(record) {
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => socket.send(answer(query, record), port, address));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}

/** Response with the question of `query` and `record` as the only answer (RFC 1035, 4.1). */
function answer(query, record) {
  const question = query.subarray(12, query.indexOf(0, 12) + 5);
  const header = Buffer.concat([query.subarray(0, 2), Buffer.from([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])]);
  // A TXT record consists of strings of at most 255 bytes.
  const strings = record.match(/.{1,255}/gs) ?? [];
  const data = Buffer.concat(strings.map((text) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])));
  const resource = Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, data.length >> 8, data.length & 0xff]);
  return Buffer.concat([header, question, resource, data]);
}
