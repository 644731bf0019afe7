// A server that listens on command and is later killed. Its replacement is another such process, which is started in advance.
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ORDER_ID } from '../contract.mjs';
import { loadService } from '../load-contract.mjs';
import { executeCommands } from '../memory/child.mjs';

const { Get } = loadService();
const server = new Server();
server.addService(
  { Get },
  {
    /** @type {import('@grpc/grpc-js').handleUnaryCall<{ id: string }, { id: string }>} */
    Get(_call, callback) {
      callback(null, { id: ORDER_ID });
    },
  },
);

/**
 * @param {{ port: number }} given Port 0 selects any free port.
 * @returns {Promise<{ port: number, atMs: number }>} The port, and the time when the server started to listen, on the
 *   clock that all processes share.
 */
function listen({ port }) {
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${String(port)}`, ServerCredentials.createInsecure(), (error, bound) => {
      const atMs = Number(process.hrtime.bigint()) / 1e6;
      if (error) reject(error);
      else resolve({ port: bound, atMs });
    });
  });
}

executeCommands({ listen, ready: () => true });
process.once('disconnect', () => process.exit());
