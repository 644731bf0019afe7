import type { Channel, StatusObject } from '@grpc/grpc-js';

/** Private members of grpc-js's channel. */
interface Internals {
  readonly defaultAuthority: string;
  onCallStart(): void;
  onCallEnd(status: Pick<StatusObject, 'code'>): void;
}

/** The calls of a channel of grpc-js, which counts them, because a channel without running calls becomes idle. */
export interface ChannelCalls {
  readonly authority: string;
  readonly started: () => void;
  readonly ended: (status: Pick<StatusObject, 'code'>) => void;
}

export function callsOf(channel: Channel): ChannelCalls {
  // Safe: `hasTransportNames()` found the names.
  const { internalChannel } = channel as unknown as { readonly internalChannel: Internals };
  return {
    authority: internalChannel.defaultAuthority,
    started: internalChannel.onCallStart.bind(internalChannel),
    ended: internalChannel.onCallEnd.bind(internalChannel),
  };
}
