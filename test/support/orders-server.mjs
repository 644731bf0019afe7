// A plain grpc-js server of orders.v1.Orders in its own process:
//   node orders-server.mjs --port 0 [--log FILE] [--delay MS] [--standby]
// Writes each request to the log before it responds, so that requests are counted even if the process is killed. In standby, it waits for
// { listenAt } over IPC, so that the downtime does not depend on the time that Node takes to start.
import { appendFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
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

const server = new Server();
server.addService(proto['orders.v1.Orders'], methods);

async function listen() {
  const bind = promisify(server.bindAsync.bind(server));
  const port = await bind(`127.0.0.1:${values.port}`, ServerCredentials.createInsecure());
  process.send?.({ port });
  console.log(`listening on 127.0.0.1:${port}`);
}

if (values.standby) {
  // ChildServer has unreferenced the IPC channel of this process. Without a reference, the process would exit while it waits.
  process.channel.ref();
  process.once('message', ({ listenAt }) => setTimeout(listen, listenAt - Date.now()));
  console.log(`standby for 127.0.0.1:${values.port}`);
} else {
  await listen();
}
process.once('SIGTERM', () => server.tryShutdown(() => process.exit(0)));
