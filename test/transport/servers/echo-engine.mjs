// A server of testing.v1.Echo on the library's HTTP/2 engine: node echo-engine.mjs ADDRESS [cert key]. ADDRESS is the path of a Unix socket or
// a port. peers.ts describes its responses. A request that is not gRPC gets a short text when it has ended.
import { readFileSync } from 'node:fs';
import { loadSync } from '@grpc/proto-loader';
import { RequestStream } from '../../../libs/resilient-grpc/dist/transport/grpc/request-stream.js';
import { encodedBound, encodeFields } from '../../../libs/resilient-grpc/dist/transport/hpack/hpack-encoder.js';
import { MemoryBudget } from '../../../libs/resilient-grpc/dist/transport/http2/memory-budget.js';
import { ServerListener } from '../../../libs/resilient-grpc/dist/transport/socket/server-listener.js';
import { systemClock } from '../../../libs/resilient-grpc/dist/time/clock.js';

const MiB = 1_048_576;
const { 'testing.v1.Echo': ECHO } = loadSync(new URL('../../../protos/testing/echo.proto', import.meta.url).pathname);
const METHODS = new Map(Object.values(ECHO).map((method) => [method.path, method]));
const HEAD = [':status', '200', 'content-type', 'application/grpc'];
const OK = ['grpc-status', '0'];
const NOT_FOUND = [...HEAD, 'grpc-status', '5', 'grpc-message', 'no such %C3%A9'];
const TEXT = Buffer.from('This is no gRPC request.\n');
const ignored = () => undefined;

/** Returns a function that writes `fields`, encoded once. */
function block(fields) {
  const bytes = Buffer.allocUnsafeSlow(encodedBound(fields));
  const encoded = bytes.subarray(0, encodeFields(bytes, 0, fields));
  return [encoded.length, (target, at) => at + encoded.copy(target, at)];
}
const HEAD_BLOCK = block(HEAD);
const OK_BLOCK = block(OK);

class Call {
  constructor(stream, { path, fields, grpcEncoding }, isEnd) {
    this.stream = stream;
    this.method = METHODS.get(path) ?? ECHO.Unary;
    this.messages = 0;
    this.head = HEAD_BLOCK;
    for (let at = 0; at < fields.length; at += 2) {
      if (fields[at] === 'x-status') this.status = block(NOT_FOUND);
      if (fields[at] === 'x-wait') this.isWaiting = true;
      if (fields[at] === 'x-echo') this.head = block([...HEAD, 'x-echo', fields[at + 1]]);
    }
    this.request = new RequestStream(stream, this, { maxMessageBytes: 64 * MiB, encoding: grpcEncoding }, isEnd);
    if (this.status !== undefined) this.finish(this.status);
    else if (this.isWaiting !== true) this.request.request(1);
  }

  message(message) {
    this.messages += 1;
    this.last = message;
    // The next request is read when the response has left.
    if (this.method !== ECHO.Bidi) this.request.request(1);
    else if (this.send(message)) this.request.request(1);
  }

  send(message) {
    if (!this.hasHead) this.stream.head(...this.head);
    this.hasHead = true;
    return this.stream.send(message);
  }

  ended() {
    if (this.method === ECHO.ClientStream) this.last = ECHO.ClientStream.responseSerialize({ number: this.messages });
    if (this.method === ECHO.ServerStream) {
      const { number } = ECHO.ServerStream.requestDeserialize(this.last ?? Buffer.alloc(0));
      const one = ECHO.ServerStream.responseSerialize({ number: 1 });
      for (let sent = 0; sent < number; sent++) this.send(one);
    } else if (this.method !== ECHO.Bidi) this.send(this.last ?? Buffer.alloc(0));
    this.finish(OK_BLOCK);
  }

  finish(trailers) {
    if (trailers === OK_BLOCK && this.hasHead !== true) this.stream.head(...this.head);
    this.stream.trailers(...trailers);
    this.stream.release();
  }

  unreadable({ details }) {
    this.finish(block([...HEAD, 'grpc-status', '13', 'grpc-message', details]));
  }

  failed() {
    this.stream.release();
  }

  drained() {
    if (this.method === ECHO.Bidi) this.request.request(1);
  }
}

/** The receiver of a request that is not gRPC. */
function foreign(stream, isEnd) {
  const answer = () => {
    stream.head(...block([':status', '200', 'content-type', 'text/plain']));
    stream.sendBody(TEXT);
    stream.release();
  };
  if (isEnd) answer();
  return {
    headers: answer,
    data: ignored,
    dataEnds: (isLast) => (isLast ? answer() : stream.credit(0)),
    failed: () => stream.release(),
    drained: ignored,
  };
}

const [address, cert, key] = process.argv.slice(2);
const listener = new ServerListener(
  {
    accepted: () => ({
      request(stream, head, isEnd) {
        if (head.contentType?.startsWith('application/grpc') !== true) return foreign(stream, isEnd);
        return new Call(stream, head, isEnd).request;
      },
      ended({ details, isPeersFault }) {
        if (isPeersFault) process.stderr.write(`${details}\n`);
      },
    }),
    refused: ({ peer, details }) => process.stderr.write(`${peer}: ${details}\n`),
    failed: (error) => {
      throw error;
    },
  },
  {
    settings: {
      streamWindow: 65_535,
      connectionWindow: 8 * MiB,
      maxHeaderListSize: 16_384,
      headerTableSize: 4_096,
      maxConcurrentStreams: Number(process.env.STREAM_LIMIT ?? 1_000),
      minPingIntervalMs: 0,
    },
    memory: new MemoryBudget(512 * MiB),
    headTimeoutMs: 10_000,
    sendTimeoutMs: 60_000,
    drainTimeoutMs: 10_000,
    handshakeTimeoutMs: 10_000,
    maxConnections: 10_000,
    tls: cert === undefined ? undefined : { cert: readFileSync(cert), key: readFileSync(key) },
  },
  systemClock,
);
await listener.listen(/^\d+$/.test(address) ? { host: '127.0.0.1', port: Number(address) } : { path: address });
process.stdout.write(`${String(listener.port)}\n`);
process.once('SIGTERM', () => {
  setTimeout(() => listener.destroy(), 1_000).unref();
  void listener.drain().then(() => process.exit());
});
