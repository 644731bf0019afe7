// A plain grpc-js server of orders.v1.Orders with the health service of grpc-health-check, in its own process:
//   node health-server.mjs --port 0
// The IPC message `{ status }` sets the health status of orders.v1.Orders. SIGTERM ends the process cleanly, after every stream has ended.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { HealthImplementation } from 'grpc-health-check';

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } });
const proto = loadSync(fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)), { longs: String });

const server = new Server();
server.addService(proto['orders.v1.Orders'], { Get: ({ request }, callback) => callback(null, { id: request.id }) });
const health = new HealthImplementation({ '': 'SERVING', 'orders.v1.Orders': 'SERVING' });
health.addToServer(server);
process.on('message', ({ status }) => health.setStatus('orders.v1.Orders', status));
server.bindAsync(`127.0.0.1:${values.port}`, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`listening on 127.0.0.1:${port}`);
});
process.once('SIGTERM', () => server.tryShutdown(() => process.exit(0)));
