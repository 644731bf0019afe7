import { createSocket } from 'node:dgram';
import { once } from 'node:events';

// grpc-js reads this variable only when grpc-js is loaded, so import this module first. For a target `dns://ip:port/name`, grpc-js then
// queries the name server at ip:port.
process.env.GRPC_NODE_USE_ALTERNATIVE_RESOLVER = 'true';

/**
 * Starts a name server on 127.0.0.1. While `resolves` of the returned state is true, every name resolves to 127.0.0.1; otherwise, no name
 * exists.
 */
export async function startNameServer() {
  const socket = createSocket('udp4');
  const state = { resolves: false, target: '' };
  socket.on('message', (query, { port, address }) => {
    socket.send(answerTo(query, state.resolves), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  state.target = `127.0.0.1:${socket.address().port}`;
  return state;
}

/** Returns the response (RFC 1035, 4.1): the question, and the address if `resolves` is true and the query requests an IPv4 address. */
function answerTo(query, resolves) {
  const end = query.indexOf(0, 12) + 5;
  const record = resolves && query.readUInt16BE(end - 4) === 1;
  const header = Buffer.from([0x81, resolves ? 0x80 : 0x83, 0, 1, 0, record ? 1 : 0, 0, 0, 0, 0]);
  const address = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
  return Buffer.concat([query.subarray(0, 2), header, query.subarray(12, end), ...(record ? [address] : [])]);
}
