// A client in its own process that the test freezes: node stuck-client.mjs --url HOST:PORT --health PROTO
// It opens an idle stream, an endless stream that it reads, and a health Watch, and reports when all three have started.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({ options: { url: { type: 'string' }, health: { type: 'string' } } });
const orders = loadSync(fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)));
const Orders = makeGenericClientConstructor(orders['orders.v1.Orders']);
const Health = makeGenericClientConstructor(loadSync(values.health)['grpc.health.v1.Health']);
const client = new Orders(values.url, credentials.createInsecure());
const health = new Health(values.url, credentials.createInsecure());
const waitForMessage = (call) =>
  new Promise((resolve) => {
    call.on('data', resolve);
    call.on('error', (error) => console.log(`stream ended: ${error.message}`));
  });
await Promise.all([
  waitForMessage(client.watch({ from: 0 })),
  waitForMessage(client.watch({ from: 1 })),
  waitForMessage(health.watch({ service: '' })),
]);
// Not an address: ChildServer waits for a line in this format.
console.log('listening on streams:1');
