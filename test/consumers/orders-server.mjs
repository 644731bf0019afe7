// A plain grpc-js server of orders.v1.Orders that the applications call. It runs in a separate process:
//   node orders-server.mjs --port 0
// It implements methods of every kind. Each response reflects its request.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } });
const proto = loadSync(fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)), { longs: String });

const methods = {
  get(call, answer) {
    const { id } = call.request;
    if (id === '0') return answer({ code: status.NOT_FOUND, details: 'no such order' });
    const [requestId = ''] = call.metadata.get('x-request-id');
    // The sequence shows whether the call arrived with a deadline.
    answer(null, { id, requestId, item: 'tea', quantity: 1, sequence: call.getDeadline() === Infinity ? '0' : '1' });
  },
  create({ request }, answer) {
    answer(null, { ...request, id: '9' });
  },
  watch(call) {
    for (let sequence = BigInt(call.request.from) + 1n; sequence <= 9007199254740995n; sequence++)
      call.write({ sequence: String(sequence), order: undefined });
    call.end();
  },
  session(call) {
    call.on('data', ({ messageId }) => call.write({ messageId, sequence: messageId }));
    call.on('end', () => call.end());
  },
  upload(call, answer) {
    let count = 0;
    call.on('data', () => (count += 1));
    call.on('end', () => answer(null, { count, lastSequence: String(count) }));
  },
};

const server = new Server();
server.addService(proto['orders.v1.Orders'], methods);
server.bindAsync(`127.0.0.1:${values.port}`, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`listening on 127.0.0.1:${port}`);
});
