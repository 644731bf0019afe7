// A plain grpc-js server of orders.v1.Orders, in its own process. Like the simulated server, it processes calls sequentially, `rate` per
// second. A call that would wait longer than `queue` milliseconds fails with UNAVAILABLE without waiting. Each response is delayed by
// `latency` milliseconds. Usage:
//   node bounded-server.mjs --port 0 --rate 600 --queue 1000 --latency 5
// Over IPC, it accepts { unreachable }, which makes all calls fail if true, and { downUntil }, which stops the server until that time. It
// responds to { report: true } with { arrivals }, the times of all requests. Times are in milliseconds since 1970.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    rate: { type: 'string' },
    queue: { type: 'string' },
    latency: { type: 'string' },
  },
});
const [callMs, queueMs, latencyMs] = [1_000 / Number(values.rate), Number(values.queue), Number(values.latency)];
const proto = loadSync(fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)));

const arrivals = [];
let isUnreachable = false;
let freeAt = 0;

function get({ request }, callback) {
  const now = performance.now();
  arrivals.push(Date.now());
  if (isUnreachable || freeAt - now > queueMs) {
    setTimeout(() => callback({ code: status.UNAVAILABLE, details: 'shed' }), latencyMs);
    return;
  }
  freeAt = Math.max(freeAt, now) + callMs;
  setTimeout(() => callback(null, { id: request.id }), freeAt - now + latencyMs);
}

let server;

async function listen(port) {
  server = new Server();
  server.addService(proto['orders.v1.Orders'], { Get: get });
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
}

const port = await listen(values.port);
process.on('message', ({ unreachable, downUntil, report }) => {
  if (unreachable !== undefined) isUnreachable = unreachable;
  if (downUntil !== undefined) {
    server.forceShutdown();
    freeAt = 0;
    setTimeout(() => void listen(port), downUntil - Date.now());
  }
  if (report) process.send({ arrivals });
});
console.log(`listening on 127.0.0.1:${port}`);
