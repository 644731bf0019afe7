// A plain grpc-js server of orders.v1.Orders in its own process, on one or several ports:
//   node orders-server.mjs --ports 0,0 [--log FILE] [--delay MS] [--standby]
// Writes each request to the log before it responds, so that requests are counted even if the process is killed. In standby, it waits for
// { listenAt } over IPC, so that the downtime does not depend on the time that Node takes to start.
import { appendFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({
  options: {
    ports: { type: 'string', default: '0' },
    log: { type: 'string' },
    delay: { type: 'string', default: '0' },
    standby: { type: 'boolean', default: false },
  },
});
const proto = loadSync(fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)), { longs: String });
const logRequest = (key) => values.log && appendFileSync(values.log, `${key}\n`);
const answer = (key, callback) => {
  logRequest(key);
  setTimeout(() => callback(null, { id: key }), Number(values.delay));
};
const methods = {
  Get: ({ request }, callback) => answer(`get ${request.id}`, callback),
  Create: ({ request }, callback) => answer(`create ${request.requestId}`, callback),
};

const servers = [];

async function listen(port) {
  const server = new Server();
  servers.push(server);
  server.addService(proto['orders.v1.Orders'], methods);
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve({ port: bound, at: Date.now() });
    });
  });
}

async function start() {
  const bound = await Promise.all(values.ports.split(',').map(listen));
  process.send?.({ bound });
  console.log(`listening on 127.0.0.1:${bound[0].port}`);
}

if (values.standby) {
  // ChildServer has unreferenced the IPC channel of this process. Without a reference, the process would exit while it waits.
  process.channel.ref();
  process.once('message', ({ listenAt }) => setTimeout(start, listenAt - Date.now()));
  console.log(`standby for 127.0.0.1:${values.ports.split(',')[0]}`);
} else {
  await start();
}
const shutDown = (server) => new Promise((resolve) => server.tryShutdown(resolve));
process.once('SIGTERM', () => void Promise.all(servers.map(shutDown)).then(() => process.exit(0)));
