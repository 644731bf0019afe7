import { loadSync } from '@grpc/proto-loader';
import { PROTO_PATH } from './contract.mjs';

/**
 * The contract as proto-loader reads it with its defaults, which are also those of Nest.
 *
 * @returns {import('@grpc/proto-loader').PackageDefinition}
 */
export function loadContract() {
  return loadSync(PROTO_PATH);
}

/**
 * The service's definition, as grpc-js takes it.
 *
 * @returns {import('./contract.mjs').BenchDefinition}
 */
export function loadService() {
  // proto-loader's type also stands for messages and enums, and knows no names; those are in bench.proto.
  return /** @type {import('./contract.mjs').BenchDefinition} */ (
    /** @type {unknown} */ (loadContract()['bench.Bench'])
  );
}
