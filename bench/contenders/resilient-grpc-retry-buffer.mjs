import { open as openWith } from './resilient-grpc.mjs';

/**
 * This library with a retry buffer of `bytes` bytes in grpc-js.
 *
 * @param {number} bytes
 * @returns {{ open(address: string): Promise<import('../contenders.mjs').Contender> }}
 */
export function withRetryBuffer(bytes) {
  return { open: (address) => openWith(address, { channelOptions: { 'grpc.per_rpc_retry_buffer_size': bytes } }) };
}
