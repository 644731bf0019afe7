import { framed, startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startHttp2Server((stream) => {
    const headers = { ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'zstd' };
    stream.respond(headers, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    const compressed = framed('answer');
    compressed[0] = 1;
    stream.end(compressed);
  });
  const answer = await answerOf(textClient(target));
  return answer instanceof Error && answer.code === undefined;
});
