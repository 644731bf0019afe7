import { once } from 'node:events';
import http2 from 'node:http2';

/** Starts a node:http2 server on 127.0.0.1. `onStream` receives each stream and its headers. */
export async function startHttp2Server(onStream, options = {}) {
  const server = http2.createServer(options);
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    onStream(stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, target: `127.0.0.1:${server.address().port}` };
}

/** Opens a node:http2 session to the server at `target`. */
export async function startHttp2Session(target) {
  const session = http2.connect(`http://${target}`);
  session.on('error', () => undefined);
  await once(session, 'connect');
  return session;
}

/** Starts a gRPC call on a node:http2 session, without a gRPC client. */
export function beginCall(session, method, headers = {}) {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/text.Text/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => undefined);
  return stream;
}

/** Returns a message in gRPC framing. */
export function framed(text) {
  const frame = Buffer.alloc(5 + Buffer.byteLength(text));
  frame.writeUInt32BE(Buffer.byteLength(text), 1);
  frame.write(text, 5);
  return frame;
}
