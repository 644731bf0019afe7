import { readFileSync } from 'node:fs';
import { Metadata, credentials, makeClientConstructor } from '@grpc/grpc-js';
import { CA_PATH, targetOf } from '../contract.mjs';
import { loadService } from '../load-contract.mjs';
import { OWN_CONNECTION, RETRIES, TUNED_CHANNEL, TUNED_TIMEOUT_MS } from './channel-options.mjs';

/** @typedef {import('../contract.mjs').Chunk} Chunk */

/**
 * The methods that makeClientConstructor adds.
 *
 * @typedef {object} BenchMethods
 * @property {(...request: any[]) => unknown} get
 * @property {(request: { count: number, size: number }) => import('@grpc/grpc-js').ClientReadableStream<Chunk>} watch
 * @property {(done: (error: unknown, received?: { count: number }) => void) =>
 *   import('@grpc/grpc-js').ClientWritableStream<Chunk>} upload
 * @property {() => import('@grpc/grpc-js').ClientDuplexStream<Chunk, Chunk>} echo
 */

/**
 * grpc-js's own `Client`, the baseline.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  return openWith(address);
}

/** The baseline with grpc-js's own retries. */
export const withRetries = {
  /** @param {string} address */
  open: (address) => openWith(address, { 'grpc.service_config': JSON.stringify(RETRIES) }),
};

/**
 * Opens the client with the best options for restarts.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function openTuned(address) {
  return openWith(address, TUNED_CHANNEL, () => [
    new Metadata({ waitForReady: true }),
    { deadline: Date.now() + TUNED_TIMEOUT_MS },
  ]);
}

/**
 * @param {string} address
 * @param {object} [channelOptions]
 * @param {() => readonly [Metadata, object]} [callOptions] Returns the metadata and the options of a unary call.
 * @returns {import('../contenders.mjs').Contender}
 */
function openWith(address, channelOptions = {}, callOptions = undefined) {
  const { target, isSecure } = targetOf(address);
  const security = isSecure ? credentials.createSsl(readFileSync(CA_PATH)) : credentials.createInsecure();
  const BenchClient = makeClientConstructor(loadService(), 'Bench');
  const client = /** @type {import('@grpc/grpc-js').Client & BenchMethods} */ (
    /** @type {unknown} */ (new BenchClient(target, security, { ...OWN_CONNECTION, ...channelOptions }))
  );
  return {
    get:
      callOptions === undefined
        ? (id, done) => {
            client.get({ id }, done);
          }
        : (id, done) => {
            client.get({ id }, ...callOptions(), done);
          },
    watch(request, onMessage, done) {
      listen(client.watch(request), onMessage, done);
    },
    upload(chunks, done) {
      writeAll(client.upload(done), chunks);
    },
    echo(chunks, onMessage, done) {
      const stream = client.echo();
      listen(stream, onMessage, done);
      writeAll(stream, chunks);
    },
    close() {
      client.close();
    },
  };
}

/**
 * @param {import('node:stream').Readable} stream
 * @param {(chunk: Chunk) => void} onMessage
 * @param {(error: unknown) => void} done
 */
function listen(stream, onMessage, done) {
  stream.on('data', onMessage);
  stream.on('error', done);
  stream.on('end', () => {
    done(null);
  });
}

/**
 * @param {import('node:stream').Writable} stream
 * @param {Iterable<Chunk>} chunks
 */
function writeAll(stream, chunks) {
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
}
