import type { Channel, StatusObject } from '@grpc/grpc-js';

/** Private members of grpc-js's channel. */
interface Internals {
  readonly defaultAuthority: string;
  onCallStart(): void;
  onCallEnd(status: Pick<StatusObject, 'code'>): void;
}

function internalsOf(channel: Channel): Internals {
  // Safe: `hasTransportNames()` found the names.
  return (channel as unknown as { readonly internalChannel: Internals }).internalChannel;
}

export function authorityOf(channel: Channel): string {
  return internalsOf(channel).defaultAuthority;
}

/** Reports to grpc-js that a call has started. grpc-js counts running calls, because a channel without any becomes idle. */
export function callStarted(channel: Channel): void {
  internalsOf(channel).onCallStart();
}

export function callEnded(channel: Channel, status: Pick<StatusObject, 'code'>): void {
  internalsOf(channel).onCallEnd(status);
}
