import grpc from '@grpc/grpc-js';
import http2 from 'node:http2';
import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, textClient } from './support/text-service.mjs';

// Built by hand, because Node's `goaway()` replaces a last stream ID of 0 with the newest one.
const [GOAWAY, LAST_STREAM_ID, CODE] = [7, 0, http2.constants.NGHTTP2_INTERNAL_ERROR];
const REJECTING_FRAME = Buffer.from([0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, LAST_STREAM_ID, 0, 0, 0, CODE]);

await reproduce('@grpc/grpc-js', async () => {
  const sockets = [];
  const { server, target } = await startHttp2Server(() => sockets.at(-1).write(REJECTING_FRAME));
  server.on('connection', (socket) => sockets.push(socket));
  const { code } = await answerOf(textClient(target));
  return code === grpc.status.INTERNAL && sockets.length === 1;
});
