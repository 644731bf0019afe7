// An honest client with much to do, in its own process:
//   node honest-client.mjs --port 50051 --work watches --count 5000
// 'watches' keeps streams open and awaits an event on each; 'calls' makes unary calls at once; 'slow watches' reads 20 events of each stream,
// one every 0.2 s. On an IPC message, it does its work and reports how many streams or calls got what they should, and the failures.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({
  options: { port: { type: 'string' }, work: { type: 'string' }, count: { type: 'string' } },
});
const proto = loadSync(fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)));
const { Orders } = loadPackageDefinition(proto).orders.v1;
const orders = new Orders(`127.0.0.1:${values.port}`, credentials.createInsecure());

const WORK = {
  watches: () =>
    new Promise((resolve, reject) => {
      const stream = orders.session();
      stream.once('data', () => resolve()).on('error', reject);
      stream.write({ messageId: 1 });
    }),
  calls: () =>
    new Promise((resolve, reject) => {
      orders.get({ id: '1' }, (error) => (error === null ? resolve() : reject(error)));
    }),
  'slow watches': () =>
    new Promise((resolve, reject) => {
      let events = 0;
      const stream = orders.watch({ from: '20' });
      stream.on('data', () => {
        events += 1;
        stream.pause();
        setTimeout(() => stream.resume(), 200);
      });
      stream.on('error', reject).on('end', () => (events === 20 ? resolve() : reject(new Error(`${events} events`))));
    }),
};

process.on('message', async () => {
  const done = await Promise.allSettled(Array.from({ length: Number(values.count) }, WORK[values.work]));
  const errors = done.flatMap(({ reason }) => (reason === undefined ? [] : [String(reason.message)]));
  process.send({ succeeded: done.length - errors.length, failure: errors[0] });
});
// Keeps the process alive before its work.
setInterval(() => undefined, 1_000);
process.once('disconnect', () => process.exit(0));
process.send({ listening: Number(values.port) });
