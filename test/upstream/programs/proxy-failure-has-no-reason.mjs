import { once } from 'node:events';
import http from 'node:http';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const proxy = http.createServer().on('connect', (request, socket) => {
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  Object.assign(process.env, { no_grpc_proxy: '', no_proxy: '', GRPC_VERBOSITY: 'NONE' });
  process.env.grpc_proxy = `http://127.0.0.1:${proxy.address().port}`;
  const { details } = await new Promise((resolve) => textClient('localhost:50051').unary('', resolve));
  proxy.close();
  return details.includes('undefined');
});
