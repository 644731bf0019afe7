import type { Channel } from '@grpc/grpc-js';

/**
 * Closes the connections that `channel` stopped using when the channel or a further connection became idle. grpc-js itself closes them up
 * to 10 s later. Until then, a call would use a connection that a load balancer may have dropped silently. Running streams may finish.
 */
export function closeUnused(channel: Channel): void {
  // Safe for the supported releases of grpc-js. Without these fields, grpc-js closes the connections later.
  const { internalChannel } = channel as unknown as {
    readonly internalChannel?: { readonly subchannelPool?: { unrefUnusedSubchannels?(): void } };
  };
  internalChannel?.subchannelPool?.unrefUnusedSubchannels?.();
}
