// The other end of the calls that call-path.mjs and call-cost.mjs measure: a server and a client of grpc-js.
import { credentials, makeGenericClientConstructor, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { executeCommands } from '../bench/child.mjs';
import { ORDER, ORDER_ID } from '../bench/contract.mjs';
import { loadService } from '../bench/load-contract.mjs';

const service = loadService();
const { Get, Watch } = service;
const Bench = makeGenericClientConstructor(service, 'Bench');

const server = new Server();
server.addService(
  { Get, Watch },
  {
    Get({ metadata }, done) {
      const isFirst = metadata.get('grpc-previous-rpc-attempts').length === 0;
      if (isFirst && metadata.get('x-fails-once').length > 0) done({ code: status.UNAVAILABLE, details: 'once' });
      else done(null, ORDER);
    },
    Watch(call) {
      for (let left = call.request.count; left > 0; left -= 1) call.write({ data: Buffer.alloc(call.request.size) });
      call.end();
    },
  },
);

executeCommands({
  listen: () =>
    new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
        if (error) reject(error);
        else resolve(`127.0.0.1:${port}`);
      });
    }),
  async call({ address, count, inFlight }) {
    const client = clientOf(address);
    let left = count;
    const caller = async () => {
      while (left-- > 0)
        await new Promise((resolve, reject) =>
          client.Get({ id: ORDER_ID }, (error) => (error ? reject(error) : resolve(undefined))),
        );
    };
    await Promise.all(Array.from({ length: inFlight }, caller));
  },
});

/** @type {Map<string, any>} */
const clients = new Map();

/** @param {string} address */
function clientOf(address) {
  const client = clients.get(address) ?? new Bench(address, credentials.createInsecure());
  clients.set(address, client);
  return client;
}
