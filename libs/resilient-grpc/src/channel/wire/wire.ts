import type { Channel, ChannelCredentials, ChannelOptions, Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { UntestedVersion } from '../../call/call-event.js';
import type { ReadBarrier } from '../../call/call-transport.js';
import type { ConnectionSnapshot, ConnectivityState, EndpointWatchSnapshot } from '../../call/connectivity.js';
import type { Transport } from '../../call/method.js';
import type { BalancingSettings } from '../channel-settings.js';
import type { AddressHistories, AddressHistoryEvent } from '../connection/address-histories.js';
import type { ConnectFailure } from '../connection/connect-failure.js';
import type { Endpoints } from '../connection/endpoints.js';
import type { LivenessProbe } from '../connection/liveness-probe.js';
import type { StreamCapacity } from '../connection/policy-connections.js';
import type { PolicyEvent } from '../connection/policy-event.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';

/** An event of a wire or of one of its connections. The managed channel handles it. */
export type ConnectionEvent =
  | AddressHistoryEvent
  | Extract<PolicyEvent, { readonly type: 'state' | 'streams' | 'lookup-ended' | 'addresses' | 'addresses-limited' }>
  /** An attempt to connect failed. `isFurther` is true for a further connection to `address`. */
  | {
      readonly type: 'connect-failed';
      readonly address: string | undefined;
      readonly isFurther: boolean;
      readonly failure: ConnectFailure;
    }
  | { readonly type: 'connected'; readonly address: string }
  /** The channel no longer uses the READY connection to `address`, for example because the address was removed or the channel is idle. */
  | { readonly type: 'released'; readonly address: string }
  /**
   * The client ended a call on `connection` because the call took too long. `waitedMs`: time since the start of the attempt; 0 if the call
   * was waiting for a message of its response stream.
   */
  | { readonly type: 'call-timed-out'; readonly connection: SubchannelConnection; readonly waitedMs: number }
  | { readonly type: 'keepalive-throttled'; readonly keepaliveTimeMs: number }
  | { readonly type: 'endpoint-watch'; readonly watch: EndpointWatchSnapshot }
  | ({ readonly type: 'untested-version' } & UntestedVersion);

export interface WireSettings extends Pick<BalancingSettings, 'loadBalancing' | 'dnsRefreshMs'> {
  readonly target: string;
  readonly doctorCommand?: string | undefined;
  readonly credentials: ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  /** Returns the timeout of the next attempt to connect to an address, given the number of consecutive attempts to it that timed out. */
  readonly connectTimeoutMs: (timeouts: number) => number;
  readonly endpoints?: Endpoints | undefined;
  /** Service whose health is checked, and the metadata for a Watch; absent if the health of the endpoints is not checked. */
  readonly healthCheck?: { readonly service: string; readonly metadata: () => Promise<Metadata> } | undefined;
  /** Returns the maximum number of connections to one address. */
  readonly maxConnectionsPerEndpoint: () => number;
}

export interface Connecting {
  readonly progress: string;
  /** Describes an attempt that is slow. */
  readonly slow: ConnectFailure | undefined;
}

/**
 * The connections of a managed channel on one transport, with their load balancing and name resolution. A managed channel has one current
 * wire, and a second one while a replacement is pending. A replaced wire closes when its last call has ended.
 */
export interface Wire {
  readonly transport: Transport;
  readonly state: ConnectivityState;
  /** Of grpc-js, which resolves the name. */
  readonly channel: Channel;
  readonly readBarrier: ReadBarrier;
  readonly histories: Pick<AddressHistories, 'ready' | 'answered' | 'at' | 'failingMs'>;
  /** Health of the endpoints; `undefined` if they are neither ejected nor checked. */
  readonly endpoints: Endpoints | undefined;
  readonly connections: readonly ConnectionSnapshot[];
  /** The name lookup, or the oldest attempt to connect; `undefined` between two attempts, or if it is unknown. */
  readonly connecting: Connecting | undefined;
  /** True if an attempt finds a free stream: streams are not limited, at least one is free, or the number of free streams is unknown. */
  readonly hasFreeStream: boolean;
  /** Streams of the READY connections; `undefined` if no server limits them. */
  readonly streamCapacity: StreamCapacity | undefined;
  /** Time of the next periodic lookup in milliseconds since 1970; `undefined` if none is scheduled. */
  readonly nextLookupAt: number | undefined;
  /** Starts an attempt. `now` is in monotonic milliseconds. */
  start(request: AttemptRequest, listener: AttemptListener, now: number): Attempt;
  /** Opens another connection for calls that are waiting for a stream, if the maximum allows another one. */
  openAnother(): void;
  /**
   * Returns the remedy for a call that took too long on a silent connection, which names the duration of the silence, counted from `countFrom`
   * if the silence began earlier. Returns `undefined` if the connection to `peer` has received data (except shortly after `startedAt`), or if
   * the silence is short or unknown.
   */
  silenceRemedy(peer: string | undefined, startedAt: number, countFrom?: number): string | undefined;
  connect(): void;
  endBackoff(): void;
  /** Start of the next connection attempt in milliseconds since 1970; `undefined` if none is scheduled. */
  nextAttemptAt(): number | undefined;
  /** Creates a liveness probe of the connection to `address`; `undefined` if the connection is not READY. */
  probe(address: string): LivenessProbe | undefined;
  /** Lets the running calls finish. Connections close when the last calls on them have ended. */
  retire(): void;
  close(): void;
}
