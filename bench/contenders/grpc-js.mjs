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
    close() {
      client.close();
    },
  };
}
