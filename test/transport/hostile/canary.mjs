// An honest client in its own process, which makes 200 unary calls per second, every tenth a write, and holds open streams:
//   node canary.mjs --port 50051 --tls --streams 300
// On an IPC message, it reports the latencies in milliseconds of the calls since the previous one, also of those that are not answered, the
// failures, the number of calls that were refused and of writes that were answered, and the number of streams that have ended.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    tls: { type: 'boolean', default: false },
    streams: { type: 'string', default: '0' },
  },
});
const proto = loadSync(fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)));
const ca = () => readFileSync(new URL('../../fixtures/tls/ca.pem', import.meta.url));
const orders = new (loadPackageDefinition(proto).orders.v1.Orders)(
  `127.0.0.1:${values.port}`,
  values.tls ? credentials.createSsl(ca()) : credentials.createInsecure(),
);
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
    const answered = (error) => {
      if (error === null && isWrite) written += 1;
      if (error === null) latencies.push(performance.now() - pending.get(number));
      else if (isRefusal(error)) refused += 1;
      else errors.push(error.message);
      pending.delete(number);
    };
    if (isWrite) orders.create({ item: 'canary' }, answered);
    else orders.get({ id: 'canary' }, answered);
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
process.on('message', () => {
  const waited = [...pending.values()].map((from) => performance.now() - from);
  process.send({ latencies: [...latencies, ...waited], answered: latencies.length, errors, refused, written, lost });
  latencies = [];
  errors = [];
});
process.once('disconnect', () => process.exit(0));
process.send({ listening: Number(values.port) });
