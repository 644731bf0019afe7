/**
 * A client whose unary methods return promises and whose streams are iterated.
 *
 * @typedef {object} PromiseClient
 * @property {(request: { id: string }) => Promise<{ id: string }>} get
 * @property {(request: { count: number, size: number }) => AsyncIterable<{ data: Uint8Array }>} watch
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
    close,
  };
}

/**
 * @param {AsyncIterable<{ data: Uint8Array }>} chunks
 * @param {(chunk: { data: Uint8Array }) => void} onMessage
 */
async function readAll(chunks, onMessage) {
  for await (const chunk of chunks) onMessage(chunk);
}
