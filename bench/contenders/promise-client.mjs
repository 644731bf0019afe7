/** @typedef {import('../contract.mjs').Chunk} Chunk */

/**
 * A client that returns a promise for a single response, and an async iterable for a stream of responses.
 *
 * @typedef {object} PromiseClient
 * @property {(request: { id: string }) => Promise<{ id: string }>} get
 * @property {(request: { count: number, size: number }) => AsyncIterable<Chunk>} watch
 * @property {(chunks: AsyncIterable<Chunk>) => Promise<{ count: number }>} upload
 * @property {(chunks: AsyncIterable<Chunk>) => AsyncIterable<Chunk>} echo
 */

/**
 * @param {PromiseClient} client
 * @param {() => unknown} close
 * @returns {import('../contenders.mjs').Contender}
 */
export function overPromises(client, close) {
  return {
    get(id, done) {
      client.get({ id }).then((order) => {
        done(null, order);
      }, done);
    },
    watch(request, onMessage, done) {
      readAll(client.watch(request), onMessage, done);
    },
    upload(chunks, done) {
      client.upload(toAsync(chunks)).then((received) => {
        done(null, received);
      }, done);
    },
    echo(chunks, onMessage, done) {
      readAll(client.echo(toAsync(chunks)), onMessage, done);
    },
    close,
  };
}

/**
 * @template T
 * @param {Iterable<T>} items
 * @returns {AsyncGenerator<T>}
 */
async function* toAsync(items) {
  yield* items;
}

/**
 * @param {AsyncIterable<Chunk>} chunks
 * @param {(chunk: Chunk) => void} onMessage
 * @param {(error: unknown) => void} done
 */
function readAll(chunks, onMessage, done) {
  const read = async () => {
    for await (const chunk of chunks) onMessage(chunk);
  };
  read().then(() => {
    done(null);
  }, done);
}
