import { loadSync } from '@grpc/proto-loader';
import { PROTO_PATH } from './contract.mjs';

/**
 * Loads the contract with the defaults of proto-loader, which are also Nest's.
 *
 * @returns {import('@grpc/proto-loader').PackageDefinition}
 */
export function loadContract() {
  return loadSync(PROTO_PATH);
}

/**
 * Returns the service definition for grpc-js.
 *
 * @returns {import('./contract.mjs').BenchDefinition}
 */
export function loadService() {
  // Casts, because proto-loader's type also covers messages and enums, and does not contain the names of the methods.
  return /** @type {import('./contract.mjs').BenchDefinition} */ (
    /** @type {unknown} */ (loadContract()['bench.Bench'])
  );
}
