// Copied next to the programs in the docs, some of which query DNS.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/**
 * Starts a name server on loopback, on which every name has the address 127.0.0.1 and one TXT record.
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

/** Response with the question of `query`, and at most one answer (RFC 1035, 4.1). */
function answer(query, record) {
  const end = query.indexOf(0, 12) + 5;
  const question = query.subarray(12, end);
  const type = query.readUInt16BE(end - 4);
  // A TXT record consists of strings of at most 255 bytes.
  const strings = record.match(/.{1,255}/gs) ?? [];
  const text = Buffer.concat(strings.map((part) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part)])));
  const data = { 1: Buffer.from([127, 0, 0, 1]), 16: text }[type];
  const header = Buffer.concat([query.subarray(0, 2), Buffer.from([0x81, 0x80, 0, 1, 0, data ? 1 : 0, 0, 0, 0, 0])]);
  if (data === undefined) return Buffer.concat([header, question]);
  const resource = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, data.length >> 8, data.length & 0xff]);
  return Buffer.concat([header, question, resource, data]);
}
