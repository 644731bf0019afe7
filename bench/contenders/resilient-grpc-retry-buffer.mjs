import { open as openWith } from './resilient-grpc.mjs';

/**
 * Ours with a retry buffer of grpc-js of `bytes`.
 *
 * @param {number} bytes
 * @returns {{ open(address: string): Promise<import('../contenders.mjs').Contender> }}
 */
export function withRetryBuffer(bytes) {
  return { open: (address) => openWith(address, { channelOptions: { 'grpc.per_rpc_retry_buffer_size': bytes } }) };
}
