// The server for the benchmarks of clients, in a separate process so that its CPU time is not counted. It encodes the order, and a chunk of
// each size, only once, so that the client limits the throughput.
import { readFileSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { executeCommands } from './child.mjs';
import { CERTIFICATE_PATH, KEY_PATH, ORDER } from './contract.mjs';
import { loadContract, loadService } from './load-contract.mjs';

const service = loadService();

/**
 * @param {string} name
 * @param {object} value
 * @returns {Buffer}
 */
function encode(name, value) {
  const definition = /** @type {import('@grpc/proto-loader').MessageTypeDefinition<object, object>} */ (
    loadContract()[name]
  );
  return definition.serialize(value);
}

const order = encode('bench.Order', ORDER);

/** @type {Map<number, Buffer>} */
const chunks = new Map();

/**
 * @param {number} size
 * @returns {Buffer}
 */
function chunkOf(size) {
  let chunk = chunks.get(size);
  if (chunk === undefined) {
    chunk = encode('bench.Chunk', { data: Buffer.alloc(size, 'x') });
    chunks.set(size, chunk);
  }
  return chunk;
}

/** @param {Buffer} encoded */
const unchanged = (encoded) => encoded;

const server = new Server();
server.addService(
  {
    Get: { ...service.Get, responseSerialize: unchanged },
    Watch: { ...service.Watch, responseSerialize: unchanged },
    // Upload and Echo do not decode messages, so that the client limits the throughput.
    Upload: { ...service.Upload, requestDeserialize: unchanged },
    Echo: { ...service.Echo, requestDeserialize: unchanged, responseSerialize: unchanged },
  },
  {
    /** @type {import('@grpc/grpc-js').handleUnaryCall<{ id: string }, Buffer>} */
    Get(_call, callback) {
      callback(null, order);
    },
    /** @param {import('@grpc/grpc-js').ServerWritableStream<{ count: number, size: number, stay: boolean }, Buffer>} call */
    Watch(call) {
      const chunk = chunkOf(call.request.size);
      let left = call.request.count;
      const fill = () => {
        while (left > 0) {
          left--;
          if (!call.write(chunk)) {
            call.once('drain', fill);
            return;
          }
        }
        if (!call.request.stay) call.end();
      };
      fill();
    },
    /**
     * @param {import('@grpc/grpc-js').ServerReadableStream<Buffer, { count: number }>} call
     * @param {import('@grpc/grpc-js').sendUnaryData<{ count: number }>} done
     */
    Upload(call, done) {
      let count = 0;
      call.on('data', () => {
        count++;
      });
      call.on('end', () => {
        done(null, { count });
      });
    },
    /** @param {import('@grpc/grpc-js').ServerDuplexStream<Buffer, Buffer>} call */
    Echo(call) {
      call.on('data', (chunk) => {
        if (call.write(chunk)) return;
        call.pause();
        call.once('drain', () => call.resume());
      });
      call.on('end', () => {
        call.end();
      });
    },
  },
);

/**
 * @param {{ port: number, tls?: boolean }} given Port 0 selects any free port.
 * @returns {Promise<{ port: number, atMs: number }>} The port, and the time when the server started to listen, on the clock that all
 *   processes share.
 */
function listen({ port, tls }) {
  return new Promise((resolve, reject) => {
    const pair = () => ({ private_key: readFileSync(KEY_PATH), cert_chain: readFileSync(CERTIFICATE_PATH) });
    const credentials = tls ? ServerCredentials.createSsl(null, [pair()]) : ServerCredentials.createInsecure();
    server.bindAsync(`127.0.0.1:${String(port)}`, credentials, (error, bound) => {
      if (error) reject(error);
      else resolve({ port: bound, atMs: Number(process.hrtime.bigint()) / 1e6 });
    });
  });
}

executeCommands({
  listen,
  ready: () => true,
});
