import type { Channel } from '@grpc/grpc-js';

/**
 * Returns the target of `channel` with its scheme, which grpc-js adds if it is missing: 'dns:///orders:50051' for 'orders:50051'
 * (https://github.com/grpc/proposal/blob/master/A66-otel-stats.md#attributes).
 */
export function canonicalTarget(target: string, channel: Pick<Channel, 'getTarget'>): string {
  const parsed = channel.getTarget();
  return parsed === target ? target : parsed.replace(/^([^:]+):/, '$1:///');
}
