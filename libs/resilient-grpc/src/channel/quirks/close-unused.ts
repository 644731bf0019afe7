import type { Channel } from '@grpc/grpc-js';

/**
 * Closes the connections that the idle `channel` has released. grpc-js does so up to 10 s later, and a call in between would use a
 * connection that a balancer may have dropped silently. Streams on such a connection may finish.
 */
export function closeUnused(channel: Channel): void {
  // Safe for the supported releases of grpc-js. Without these fields, grpc-js closes the connections later.
  const { internalChannel } = channel as unknown as {
    readonly internalChannel?: { readonly subchannelPool?: { unrefUnusedSubchannels?(): void } };
  };
  internalChannel?.subchannelPool?.unrefUnusedSubchannels?.();
}
