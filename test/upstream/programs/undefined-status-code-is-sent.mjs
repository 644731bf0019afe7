import { beginCall, framed, startHttp2Session } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({
    // For example, a database error number.
    unary: (call, callback) => callback({ code: 23_505, details: 'duplicate key' }),
  });
  const stream = beginCall(await startHttp2Session(target), 'Unary');
  const answered = new Promise((resolve) => stream.once('response', (headers) => resolve(headers['grpc-status'])));
  stream.end(framed('request'));
  return (await answered) === '23505';
});
