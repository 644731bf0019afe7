import type { ConnectivityState } from '../../call/connectivity.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';

/** An event of a channel's load-balancing policy, or of one of the channel's connections. */
export type PolicyEvent =
  /** The state of the whole channel, after grpc-js has received it. `error` is set for TRANSIENT_FAILURE. */
  | { readonly type: 'state'; readonly state: ConnectivityState; readonly error: string | undefined }
  /**
   * The resolver returned a result. `ok` is false after an error (`isError`), or if the resolver found no address. An error leaves the
   * earlier addresses in use; an empty result does not.
   */
  | { readonly type: 'lookup-ended'; readonly ok: boolean; readonly isError: boolean }
  /** The resolver returned these addresses, and the policy uses them. They may be the same as before. */
  | { readonly type: 'addresses'; readonly addresses: readonly string[] }
  /**
   * The name could not be resolved, or has no address, and the channel has no earlier address in use. `details` is the resolver's reason. A
   * 'state' event follows.
   */
  | { readonly type: 'unresolved'; readonly details: string }
  /** The resolver returned more addresses than are used. */
  | { readonly type: 'addresses-limited'; readonly reported: number; readonly used: number }
  /** grpc-js destroyed the policy, because the channel is idle or closed, or because a service config selected another policy. */
  | { readonly type: 'destroyed' }
  /** The connection to `address` changed its state. `isFurther` is true for a further connection to `address`. */
  | {
      readonly type: 'connection';
      readonly address: string;
      readonly isFurther: boolean;
      readonly from: ConnectivityState;
      readonly to: ConnectivityState;
      readonly error: string | undefined;
    }
  /** The connection to `address` became READY, or was reused in that state. */
  | { readonly type: 'session'; readonly address: string; readonly connection: SubchannelConnection }
  /**
   * The channel no longer uses the connection to `address`, for example because the address was removed, or because the channel became
   * idle. The connection is in `state`.
   */
  | { readonly type: 'released'; readonly address: string; readonly state: ConnectivityState }
  /** The channel uses an existing connection to `address`. `state` is READY or CONNECTING. */
  | {
      readonly type: 'reused';
      readonly address: string;
      readonly isFurther: boolean;
      readonly state: ConnectivityState;
    }
  /** The number of available streams changed, because a connection was opened or lost, or the stream limit of a connection changed. */
  | { readonly type: 'streams' }
  /** The server rejected keepalive pings (too_many_pings). grpc-js now pings every `keepaliveTimeMs`. */
  | { readonly type: 'keepalive-throttled'; readonly address: string; readonly keepaliveTimeMs: number };
