import { once } from 'node:events';
import http2 from 'node:http2';

/** A server of node:http2 on 127.0.0.1, each of whose streams is handed to `onStream`. */
export async function startHttp2Server(onStream) {
  const server = http2.createServer();
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    onStream(stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, target: `127.0.0.1:${server.address().port}` };
}

/** A session of node:http2 with the server at `target`. */
export async function startHttp2Session(target) {
  const session = http2.connect(`http://${target}`);
  session.on('error', () => undefined);
  await once(session, 'connect');
  return session;
}

/** Begins a gRPC call of a method by hand. */
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

/** A message as gRPC frames it. */
export function framed(text) {
  const frame = Buffer.alloc(5 + Buffer.byteLength(text));
  frame.writeUInt32BE(Buffer.byteLength(text), 1);
  frame.write(text, 5);
  return frame;
}
