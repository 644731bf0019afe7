import type { Channel, StatusObject } from '@grpc/grpc-js';

/**
 * Private members of grpc-js's channel. It counts running calls, because a channel without any becomes idle, so it is told of the start and the
 * end of each.
 */
export interface ChannelInternals {
  readonly defaultAuthority: string;
  onCallStart(): void;
  onCallEnd(status: Pick<StatusObject, 'code'>): void;
}

export function internalsOf(channel: Channel): ChannelInternals {
  // Safe: `hasTransportNames()` found the names.
  return (channel as unknown as { readonly internalChannel: ChannelInternals }).internalChannel;
}
