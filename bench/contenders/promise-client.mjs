/**
 * A client whose unary methods return promises and whose streams are iterated.
 *
 * @typedef {object} PromiseClient
 * @property {(request: { id: string }) => Promise<{ id: string }>} get
 * @property {(request: { count: number, size: number }) => AsyncIterable<{ data: Uint8Array }>} watch
 * @property {(chunks: AsyncIterable<{ data: Uint8Array }>) => Promise<{ count: number }>} upload
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
      readAll(client.watch(request), onMessage).then(() => {
        done(null);
      }, done);
    },
    upload(chunks, done) {
      client.upload(asynchronous(chunks)).then((received) => {
        done(null, received);
      }, done);
    },
    close,
  };
}

/**
 * @template T
 * @param {Iterable<T>} items
 * @returns {AsyncGenerator<T>}
 */
async function* asynchronous(items) {
  yield* items;
}

/**
 * @param {AsyncIterable<{ data: Uint8Array }>} chunks
 * @param {(chunk: { data: Uint8Array }) => void} onMessage
 */
async function readAll(chunks, onMessage) {
  for await (const chunk of chunks) onMessage(chunk);
}
