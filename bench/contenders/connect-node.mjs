import { createClient } from '@connectrpc/connect';
import { Http2SessionManager, createGrpcTransport } from '@connectrpc/connect-node';
import { serviceDesc } from '@bufbuild/protobuf/codegenv2';
import { BENCH_FILE } from './bench-descriptor.mjs';
import { overPromises } from './promise-client.mjs';
import { TUNED_TIMEOUT_MS } from './channel-options.mjs';

/**
 * The client of Connect (`@connectrpc/connect`) with its gRPC transport and protobuf-es.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  return connect(address);
}

/**
 * Opens the client with the best options for restarts. The client has no option for retries.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function openTuned(address) {
  return connect(
    address,
    // Does not ping idle connections, because version 2.1.2 continues to ping destroyed connections, which crashes the process.
    { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 },
    { defaultTimeoutMs: TUNED_TIMEOUT_MS },
  );
}

/**
 * @param {string} address
 * @param {import('@connectrpc/connect-node').Http2SessionOptions} [sessionOptions]
 * @param {{ defaultTimeoutMs?: number }} [transportOptions]
 */
function connect(address, sessionOptions = {}, transportOptions = {}) {
  const baseUrl = `http://${address}`;
  // Uses the same limit as grpc-js, because Node's default of 10 MB is too small for thousands of streams.
  const sessionManager = new Http2SessionManager(baseUrl, sessionOptions, {
    maxSessionMemory: Number.MAX_SAFE_INTEGER,
  });
  const client = createClient(
    serviceDesc(BENCH_FILE, 0),
    createGrpcTransport({ baseUrl, sessionManager, ...transportOptions }),
  );
  return overPromises(
    /** @type {import('./promise-client.mjs').PromiseClient} */ (/** @type {unknown} */ (client)),
    () => {
      sessionManager.abort();
    },
  );
}
