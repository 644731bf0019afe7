// An honest client in its own process, which makes 200 unary calls per second: node canary.mjs --port 50051
// On an IPC message, it reports the latencies in milliseconds of the calls since the previous one, and the errors.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({ options: { port: { type: 'string' } } });
const proto = loadSync(fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)));
const orders = new (loadPackageDefinition(proto).orders.v1.Orders)(
  `127.0.0.1:${values.port}`,
  credentials.createInsecure(),
);
let latencies = [];
let errors = [];
const beganAt = performance.now();
let made = 0;
setInterval(() => {
  for (; made < (performance.now() - beganAt) / 5; made++) {
    const from = performance.now();
    orders.get({ id: 'canary' }, (error) => {
      if (error) errors.push(error.message);
      else latencies.push(performance.now() - from);
    });
  }
}, 5);
process.on('message', () => {
  process.send({ latencies, errors });
  latencies = [];
  errors = [];
});
process.once('disconnect', () => process.exit(0));
process.send({ listening: Number(values.port) });
