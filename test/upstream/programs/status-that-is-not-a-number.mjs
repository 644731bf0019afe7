import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startHttp2Server((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': 'abc' }, { endStream: true });
  });
  return Number.isNaN((await answerOf(textClient(target))).code);
});
