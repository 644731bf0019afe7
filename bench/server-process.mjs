// The server of the benchmark, run in a process of its own so that its CPU is not counted. It sends messages that were
// encoded once, at the start, so that the client is what limits the run.
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
  note: 'Leave it with the neighbour on the second floor, please.',
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
const asItIs = (encoded) => encoded;

const server = new Server();
server.addService(
  {
    Get: { ...service.Get, responseSerialize: asItIs },
    Watch: { ...service.Watch, responseSerialize: asItIs },
    // Messages are counted, not read: the client is what limits the run.
    Upload: { ...service.Upload, requestDeserialize: asItIs },
    Echo: { ...service.Echo, requestDeserialize: asItIs, responseSerialize: asItIs },
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
      // Not pipe(): a stream of objects that ends in an error would leave its other end open.
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

// However the benchmark ends, its server ends with it.
process.once('disconnect', () => process.exit());
// A Ctrl-C in a terminal reaches the whole group; the client decides.
process.on('SIGINT', () => undefined);
