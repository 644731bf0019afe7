import grpc from '@grpc/grpc-js';
import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startHttp2Server((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'text/html' });
    stream.end('<!doctype html><title>503</title>');
  });
  // gRPC maps a response with HTTP status 200 but without a gRPC content type to UNKNOWN.
  return (await answerOf(textClient(target))).code === grpc.status.RESOURCE_EXHAUSTED;
});
