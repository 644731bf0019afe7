import { fileURLToPath } from 'node:url';
import { loadSync } from '@grpc/proto-loader';

/** The one contract all contenders and the server share. */
export const PROTO_PATH = fileURLToPath(new URL('./bench.proto', import.meta.url));

/** The package of {@link PROTO_PATH}. */
export const PROTO_PACKAGE = 'bench';

/** The order everybody asks for; the server has this one only. */
export const ORDER_ID = 'order-000042';

/**
 * The contract as proto-loader reads it with its defaults, which are also those of Nest.
 *
 * @returns {import('@grpc/proto-loader').PackageDefinition}
 */
export function loadContract() {
  return loadSync(PROTO_PATH);
}

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

/**
 * The service's definition, as grpc-js takes it.
 *
 * @returns {BenchDefinition}
 */
export function loadService() {
  // proto-loader's type also stands for messages and enums, and knows no names; those are in bench.proto.
  return /** @type {BenchDefinition} */ (/** @type {unknown} */ (loadContract()['bench.Bench']));
}
