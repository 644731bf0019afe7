import type { Socket } from 'node:net';
import type { ChannelOptions, experimental } from '@grpc/grpc-js';
import type { WatchedSession } from '../connection/disconnect-reason-watch.js';
import { SocketSubchannel } from './socket-subchannel.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import { connectionRecord, observeTransport, type ConnectionTransport } from './connection-record.js';
import { streamSlotsOf, type StreamSlots } from './stream-slots.js';

type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelChannel = ReturnType<SubchannelInterface['getChannel']>;

type SubchannelSession = NonNullable<ConnectionTransport['session']> & WatchedSession & Partial<Pingable>;

/** grpc-js's subchannel without its wrappers. Unsupported releases of grpc-js may lack these fields. */
export interface RealSubchannel {
  readonly transport?: (ConnectionTransport & { readonly session?: SubchannelSession }) | null;
  readonly backoffTimeout?: { getEndTime?(): Date };
  readonly connector?: {
    tcpConnect?: (address: experimental.SubchannelAddress, options: ChannelOptions) => Promise<Socket>;
  };
  resetBackoff?(): void;
}

/** An HTTP/2 session that can be pinged. */
export interface Pingable {
  ping(callback: () => void): unknown;
}

/** Returns the connection of `subchannel` on the transport of this library; `undefined` if it is not READY, or belongs to grpc-js. */
export function socketConnectionOf(subchannel: SubchannelInterface): SubchannelConnection | undefined {
  const real: unknown = subchannel.getRealSubchannel();
  return real instanceof SocketSubchannel ? real.connection : undefined;
}

/** Returns `subchannel` without its wrappers. */
export function realSubchannel(subchannel: SubchannelInterface): RealSubchannel {
  // Safe for the supported releases of grpc-js. Other releases may lack the fields, so all of them are optional. POLICY_SEAM guarantees
  // that `getRealSubchannel()` exists.
  return subchannel.getRealSubchannel() as unknown as RealSubchannel;
}

/**
 * Observes the connection of a subchannel, and returns the HTTP/2 session; `undefined` if the subchannel is not connected, or if the
 * installed grpc-js does not expose the session.
 */
export function observeSession({ transport }: RealSubchannel): SubchannelSession | undefined {
  if (transport?.session !== undefined) observeTransport(transport);
  return transport?.session;
}

/**
 * Number of calls that are running on the connection of `subchannel`; 0 if it is not connected, or if the installed grpc-js does not expose
 * the calls.
 */
export function runningCalls(subchannel: SubchannelInterface): number {
  const own = socketConnectionOf(subchannel);
  if (own !== undefined) return own.used;
  return [...(realSubchannel(subchannel).transport?.activeCalls ?? [])].length;
}

/**
 * Returns the streams of a subchannel's connection, and records `address` as the address of that connection. Returns `undefined` if the
 * subchannel is not connected, or if the installed grpc-js does not expose the streams.
 */
export function streamsOf({ transport }: RealSubchannel, address: string): StreamSlots | undefined {
  if (transport === undefined || transport === null) return undefined;
  connectionRecord(transport).address = address;
  return streamSlotsOf(transport);
}

/** Returns the session of `subchannel` if it can be pinged. */
export function pingableSession(subchannel: SubchannelInterface): Pingable | undefined {
  const own = socketConnectionOf(subchannel);
  if (own !== undefined) return own.socket.http2;
  const session = realSubchannel(subchannel).transport?.session;
  // Safe: the method exists.
  return typeof session?.ping === 'function' ? (session as Pingable) : undefined;
}

/** Ends the backoff of `subchannel`. */
export function endBackoff(subchannel: SubchannelInterface): void {
  realSubchannel(subchannel).resetBackoff?.();
}

/** End of the backoff of `subchannel` in milliseconds since 1970; `undefined` if the installed grpc-js does not expose it. */
export function backoffEndsAt(subchannel: SubchannelInterface): number | undefined {
  return realSubchannel(subchannel).backoffTimeout?.getEndTime?.().getTime();
}

/** Returns a channel whose calls all use the connection of `subchannel`; `undefined` if the installed grpc-js cannot create one. */
export function channelOf(subchannel: SubchannelInterface): SubchannelChannel | undefined {
  return (subchannel as Partial<SubchannelInterface>).getChannel?.();
}

/**
 * Sets the authority of a call on one connection. By default, grpc-js uses the authority of the target, and ignores the channel option
 * `grpc.default_authority`.
 */
export function setAuthority(call: object, authority: string): void {
  // Safe for the supported releases of grpc-js. Without these options, the call keeps the authority of the target.
  const { options } = call as { readonly options?: { host?: string } };
  if (options !== undefined) options.host = authority;
}

/** A wrapper of subchannels that selects the connection for each call. */
type SelectingSubchannel = experimental.BaseSubchannelWrapper & {
  /** Returns the subchannel for the next call. Called once for each call, by `getRealSubchannel()`. */
  selectForCall(): SubchannelInterface;
};

/** Extends grpc-js's wrapper of subchannels so that a subclass can select the connection for each call. */
export function selectingSubchannelClass(
  Base: typeof experimental.BaseSubchannelWrapper,
): new (child: SubchannelInterface) => SelectingSubchannel {
  class Selecting extends Base {
    selectForCall(): SubchannelInterface {
      return this.child;
    }

    override getRealSubchannel(): ReturnType<SubchannelInterface['getRealSubchannel']> {
      return this.selectForCall().getRealSubchannel();
    }

    /** Compares the wrapped subchannels, regardless of the connection that carries the next call. */
    override realSubchannelEquals(other: SubchannelInterface): boolean {
      return this.child.realSubchannelEquals(other instanceof Selecting ? other.child : other);
    }
  }
  return Selecting;
}
