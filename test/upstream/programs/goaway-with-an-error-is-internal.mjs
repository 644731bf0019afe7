import grpc from '@grpc/grpc-js';
import http2 from 'node:http2';
import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startHttp2Server((stream) => {
    stream.session.goaway(http2.constants.NGHTTP2_INTERNAL_ERROR, stream.id);
  });
  return (await answerOf(textClient(target))).code === grpc.status.INTERNAL;
});
