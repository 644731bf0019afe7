import { credentials, makeClientConstructor } from '@grpc/grpc-js';
import { loadService } from '../contract.mjs';
import { OWN_CONNECTION } from './own-connection.mjs';

/**
 * The methods that makeClientConstructor adds.
 *
 * @typedef {object} BenchMethods
 * @property {(request: { id: string }, done: (error: unknown, order?: { id: string }) => void) => unknown} get
 * @property {(request: { count: number, size: number }) =>
 *   import('@grpc/grpc-js').ClientReadableStream<{ data: Uint8Array }>} watch
 * @property {(done: (error: unknown, received?: { count: number }) => void) =>
 *   import('@grpc/grpc-js').ClientWritableStream<{ data: Uint8Array }>} upload
 */

/**
 * grpc-js's own `Client`: what all others are compared with.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const BenchClient = makeClientConstructor(loadService(), 'Bench');
  const client = /** @type {import('@grpc/grpc-js').Client & BenchMethods} */ (
    /** @type {unknown} */ (new BenchClient(address, credentials.createInsecure(), OWN_CONNECTION))
  );
  return {
    get(id, done) {
      client.get({ id }, done);
    },
    watch(request, onMessage, done) {
      const stream = client.watch(request);
      stream.on('data', onMessage);
      stream.on('error', done);
      stream.on('end', () => {
        done(null);
      });
    },
    upload(chunks, done) {
      const stream = client.upload(done);
      const source = chunks[Symbol.iterator]();
      const fill = () => {
        for (let next = source.next(); ; next = source.next()) {
          if (next.done === true) {
            stream.end();
            return;
          }
          if (!stream.write(next.value)) {
            stream.once('drain', fill);
            return;
          }
        }
      };
      fill();
    },
    close() {
      client.close();
    },
  };
}
