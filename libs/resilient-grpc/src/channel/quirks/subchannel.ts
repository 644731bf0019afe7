import type { experimental } from '@grpc/grpc-js';
import type { WatchedSession } from '../connection/connection-end.js';
import type { ConnectionTransport } from './connection-record.js';

type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelChannel = ReturnType<SubchannelInterface['getChannel']>;

/** The connection under all wrappers of a subchannel. Another grpc-js may have none of these fields. */
export interface RealSubchannel {
  readonly transport?: (ConnectionTransport & { readonly session?: WatchedSession & Partial<Pingable> }) | null;
  readonly backoffTimeout?: { getEndTime?(): Date };
  resetBackoff?(): void;
}

/** A session of HTTP/2 that can be pinged. */
export interface Pingable {
  ping(callback: () => void): boolean;
}

/** The connection under all wrappers of `subchannel`. */
export function realSubchannel(subchannel: SubchannelInterface): RealSubchannel {
  // True at every grpc-js this was written for, hence the question marks. Without the method no subchannel is seen (POLICY_SEAM).
  return subchannel.getRealSubchannel() as unknown as RealSubchannel;
}

/** Milliseconds since 1970 at which the backoff of `subchannel` ends; `undefined` if this grpc-js does not show it. */
export function backoffEndsAt(subchannel: SubchannelInterface): number | undefined {
  return realSubchannel(subchannel).backoffTimeout?.getEndTime?.().getTime();
}

/** A channel whose calls all use the connection of `subchannel`; `undefined` if this grpc-js makes none. */
export function channelOf(subchannel: SubchannelInterface): SubchannelChannel | undefined {
  return (subchannel as Partial<SubchannelInterface>).getChannel?.();
}

/** Sets the authority of a call of one connection: grpc-js gives it the target's, whatever the channel's is. */
export function setAuthority(call: object, authority: string): void {
  // True at every grpc-js this was written for. Without these options, the authority of the target remains.
  const { options } = call as { readonly options?: { host?: string } };
  if (options !== undefined) options.host = authority;
}
