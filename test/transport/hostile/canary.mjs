// An honest client in its own process, which makes 200 unary calls per second, every tenth a write, and holds open streams:
//   node --expose-gc canary.mjs --port 50051 --tls --streams 300 --client theirs --hostile 50052
// With a hostile server, it also keeps 20 calls and 5 watches of it open. On an IPC message, it reports the latencies in milliseconds of the
// calls since the previous one, also of those that are not answered, the failures, the number of calls that were refused and of writes that
// were answered, and the number of streams that have ended; on { collects }, it reports what its process holds; on { warms }, it makes so many
// calls that it does not report.
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { processReport } from './process-report.mjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    tls: { type: 'boolean', default: false },
    streams: { type: 'string', default: '0' },
    client: { type: 'string', default: 'theirs' },
    hostile: { type: 'string' },
  },
});
const protoPath = fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url));
const ca = () => readFileSync(new URL('../../fixtures/tls/ca.pem', import.meta.url));

/** Calls of the honest and of the hostile server: `unary(method, request, answered)` and `watch(ended)`. */
function grpcJsClient(port) {
  const { Orders } = loadPackageDefinition(loadSync(protoPath)).orders.v1;
  const orders = new Orders(
    `127.0.0.1:${port}`,
    values.tls ? credentials.createSsl(ca()) : credentials.createInsecure(),
  );
  const options = () => ({ deadline: Date.now() + DEADLINE_MS });
  return {
    unary: (method, request, answered) => orders[method](request, options(), answered),
    watch: (ended) => {
      const stream = orders.watch({ from: '5' }, options());
      stream
        .on('data', () => undefined)
        .on('error', ended)
        .on('end', ended);
    },
    session: () => orders.session(),
  };
}

async function ownClient(port) {
  const { NestFactory } = await import('@nestjs/core');
  const { ResilientGrpcModule, getGrpcClientToken } = await import('nestjs-resilient-grpc');
  class AppModule {}
  const client = { name: 'orders', url: `127.0.0.1:${port}`, protoPath };
  const imports = [ResilientGrpcModule.forFeature([client])];
  const app = await NestFactory.createApplicationContext({ module: AppModule, imports }, { logger: ['error', 'warn'] });
  const orders = app.get(getGrpcClientToken('orders')).getService('Orders');
  const options = { timeoutMs: DEADLINE_MS };
  return {
    unary: (method, request, answered) =>
      orders[method](request, options).subscribe({ error: answered, complete: () => answered(null) }),
    watch: (ended) => orders.watch({ from: '5' }, options).subscribe({ error: ended, complete: ended }),
  };
}

const DEADLINE_MS = 30_000;
const connect = values.client === 'ours' ? ownClient : grpcJsClient;
const orders = await connect(values.port);

let latencies = [];
let errors = [];
let refused = 0;
let written = 0;
let lost = 0;
const pending = new Map();
const isRefusal = ({ code, details }) => code === 8 || (code === 14 && /refused/i.test(details));
const beganAt = performance.now();
let made = 0;
setInterval(() => {
  for (; made < (performance.now() - beganAt) / 5; made++) {
    const number = made;
    pending.set(number, performance.now());
    const isWrite = number % 10 === 0;
    orders.unary(isWrite ? 'create' : 'get', isWrite ? { item: 'canary' } : { id: 'canary' }, (error) => {
      if (error === null && isWrite) written += 1;
      if (error === null) latencies.push(performance.now() - pending.get(number));
      else if (isRefusal(error)) refused += 1;
      else errors.push(error.message);
      pending.delete(number);
    });
  }
}, 5);
const streams = Array.from({ length: Number(values.streams) }, () => {
  const stream = orders.session();
  stream.on('data', () => undefined).on('error', () => (lost += 1));
  stream.write({ messageId: 1 });
  return stream;
});
setInterval(() => {
  for (const stream of streams) stream.write({ messageId: 1 });
}, 1_000);

if (values.hostile !== undefined) {
  const hostile = await connect(values.hostile);
  const again = (start) => start(() => setTimeout(again, 20, start));
  for (let call = 0; call < 20; call++) again((ended) => hostile.unary('get', { id: '1' }, ended));
  for (let call = 0; call < 5; call++) again((ended) => hostile.watch(ended));
}

async function warm(calls) {
  const get = () => new Promise((resolve) => orders.unary('get', { id: 'canary' }, resolve));
  for (let made = 0; made < calls; made += 20) await Promise.all(Array.from({ length: 20 }, get));
}

process.on('message', async ({ collects, warms }) => {
  if (warms !== undefined) {
    await warm(warms);
    process.send({});
    return;
  }
  if (collects !== undefined) {
    process.send({ ...(await processReport(collects)), streams: 0, lingering: 0, created: 0, written, mostRunning: 0 });
    return;
  }
  const waited = [...pending.values()].map((from) => performance.now() - from);
  process.send({ latencies: [...latencies, ...waited], answered: latencies.length, errors, refused, written, lost });
  latencies = [];
  errors = [];
});
process.once('disconnect', () => process.exit(0));
process.send({ listening: Number(values.port) });
