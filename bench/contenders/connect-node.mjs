import { createClient } from '@connectrpc/connect';
import { Http2SessionManager, createGrpcTransport } from '@connectrpc/connect-node';
import { serviceDesc } from '@bufbuild/protobuf/codegenv2';
import { BENCH_FILE } from './bench-descriptor.mjs';
import { overPromises } from './promise-client.mjs';

/**
 * The client of Connect (`@connectrpc/connect`) with its gRPC transport and protobuf-es.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const baseUrl = `http://${address}`;
  // Uses the same limit as grpc-js, because Node's default of 10 MB is too small for thousands of streams.
  const sessionManager = new Http2SessionManager(baseUrl, {}, { maxSessionMemory: Number.MAX_SAFE_INTEGER });
  const client = createClient(serviceDesc(BENCH_FILE, 0), createGrpcTransport({ baseUrl, sessionManager }));
  // Safe cast: the descriptor has the methods of the contract.
  const methods = /** @type {import('./promise-client.mjs').PromiseClient} */ (/** @type {unknown} */ (client));
  return overPromises(methods, () => sessionManager.abort());
}
