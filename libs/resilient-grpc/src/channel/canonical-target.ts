import type { Channel } from '@grpc/grpc-js';

/**
 * The target of `channel` with its scheme, also where that was left to grpc-js: 'dns:///orders:50051' of 'orders:50051'
 * (https://github.com/grpc/proposal/blob/master/A66-otel-stats.md#attributes).
 */
export function canonicalTarget(target: string, channel: Pick<Channel, 'getTarget'>): string {
  const parsed = channel.getTarget();
  return parsed === target ? target : parsed.replace(/^([^:]+):/, '$1:///');
}
