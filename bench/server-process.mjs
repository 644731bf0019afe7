// The server for the benchmarks of calls, messages, and first calls, in a separate process so that its CPU time is not counted. It encodes
// the order, and a chunk of each size, only once, so that the client limits the throughput.
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ORDER_ID } from './contract.mjs';
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

const order = encode('bench.Order', {
  id: ORDER_ID,
  customer: 'customer-7f3a9c52-11',
  totalCents: 129_900,
  note: 'Leave it with the neighbor on the second floor, please.',
});

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
    /** @param {import('@grpc/grpc-js').ServerWritableStream<{ count: number, size: number }, Buffer>} call */
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
        call.end();
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

server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.(port);
});

// Exits if the benchmark exits.
process.once('disconnect', () => process.exit());
// Ignores SIGINT, because Ctrl-C reaches the whole process group. The signal ends the benchmark, and this process then exits on
// 'disconnect'.
process.on('SIGINT', () => undefined);
