// A bare grpc-js server of orders.v1.Orders/Session in its own process:
//   node session-server.mjs --port 0 --log FILE
// It appends the id of each received message to the log before it acknowledges the message. A restarted server appends to the same log.
import { appendFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { values } = parseArgs({ options: { port: { type: 'string' }, log: { type: 'string' } } });
const proto = loadSync(fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)), { longs: String });
const server = new Server();
server.addService(proto['orders.v1.Orders'], {
  Session: (call) => {
    call.on('data', ({ messageId }) => {
      appendFileSync(values.log, `${messageId}\n`);
      call.write({ messageId });
    });
    call.on('end', () => call.end());
  },
});
server.bindAsync(`127.0.0.1:${values.port}`, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`listening on 127.0.0.1:${port}`);
});
