// A grpc-js server of testing.v1.Echo on a Unix socket: node echo-grpc-js.mjs path. peers.ts describes its responses.
import { Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { 'testing.v1.Echo': Echo } = loadSync(new URL('../../../protos/testing/echo.proto', import.meta.url).pathname);
const NOT_FOUND = Object.assign(new Error('no such é'), { code: 5, details: 'no such é' });

/** Returns true if the metadata of `call` request no ordinary response. */
function answersOtherwise(call, fail) {
  if (call.metadata.get('x-status').length > 0) fail(NOT_FOUND);
  else if (call.metadata.get('x-wait').length === 0) {
    const metadata = new Metadata();
    metadata.set('x-echo', call.metadata.get('x-echo')[0] ?? '');
    call.sendMetadata(metadata);
    return false;
  }
  return true;
}

const unary = (call, respond) => void (answersOtherwise(call, respond) || respond(null, call.request));
const server = new Server();
server.addService(Echo, {
  Unary: unary,
  UnsafeUnary: unary,
  ClientStream(call, respond) {
    if (answersOtherwise(call, respond)) return;
    let number = 0;
    call.on('data', () => (number += 1)).on('end', () => respond(null, { number }));
  },
  ServerStream(call) {
    if (answersOtherwise(call, (error) => call.emit('error', error))) return;
    for (let sent = 0; sent < call.request.number; sent++) call.write({ number: 1 });
    call.end();
  },
  Bidi(call) {
    if (answersOtherwise(call, (error) => call.emit('error', error))) return;
    call.on('data', (message) => call.write(message)).on('end', () => call.end());
  },
});
server.bindAsync(`unix:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.once('SIGTERM', () => {
  setTimeout(() => server.forceShutdown(), 1_000).unref();
  server.tryShutdown(() => process.exit());
});
