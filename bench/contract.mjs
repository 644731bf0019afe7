import { fileURLToPath } from 'node:url';

/** Path of the proto file that all contenders and servers use. */
export const PROTO_PATH = fileURLToPath(new URL('./bench.proto', import.meta.url));

/** The certificate authority of the server that listens with TLS, and its files. */
const TLS_FOLDER = new URL('../test/fixtures/tls/', import.meta.url);
export const CA_PATH = fileURLToPath(new URL('ca.pem', TLS_FOLDER));
export const CERTIFICATE_PATH = fileURLToPath(new URL('server.pem', TLS_FOLDER));
export const KEY_PATH = fileURLToPath(new URL('server-key.pem', TLS_FOLDER));

const SECURE = 'tls://';

/** Returns the target in an address of the benchmarks, which starts with `tls://` if the server requires TLS. @param {string} address */
export function targetOf(address) {
  const isSecure = address.startsWith(SECURE);
  return { target: isSecure ? address.slice(SECURE.length) : address, isSecure };
}

/** Package that {@link PROTO_PATH} declares. */
export const PROTO_PACKAGE = 'bench';

/** Id of the order that all contenders request. */
export const ORDER_ID = 'order-000042';

/** The order that servers return. */
export const ORDER = {
  id: ORDER_ID,
  customer: 'customer-7f3a9c52-11',
  totalCents: 129_900,
  note: 'Leave it with the neighbor on the second floor, please.',
};

/**
 * @template Request, Response
 * @typedef {import('@grpc/grpc-js').MethodDefinition<Request, Response>} MethodDefinition
 */

/**
 * @typedef {{ data: Uint8Array, number?: number }} Chunk
 * @typedef {{ count: number }} Received
 *
 * @typedef {object} BenchDefinition
 * @property {MethodDefinition<{ id: string }, { id: string }>} Get
 * @property {MethodDefinition<{ count: number, size: number, stay?: boolean }, Chunk>} Watch
 * @property {MethodDefinition<Chunk, Received>} Upload
 * @property {MethodDefinition<Chunk, Received>} Talk
 * @property {MethodDefinition<Chunk, Chunk>} Echo
 */
