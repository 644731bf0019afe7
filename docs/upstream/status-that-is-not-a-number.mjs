import { startHttp2Server } from './tools/plain-http2.mjs';
import { reproduce } from './tools/reproduce.mjs';
import { answerOf, textClient } from './tools/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startHttp2Server((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': 'abc' }, { endStream: true });
  });
  return Number.isNaN((await answerOf(textClient(target))).code);
});
