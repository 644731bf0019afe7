import type { ConnectivityState } from '../../call/connectivity.js';
import type { ConnectFailure } from './connect-failure.js';
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
  /**
   * The connection to `address` changed its state. `isFurther` is true for a further connection to `address`. `connection` is set for READY,
   * and `error` for TRANSIENT_FAILURE.
   */
  | {
      readonly type: 'connection';
      readonly address: string;
      readonly isFurther: boolean;
      readonly from: ConnectivityState;
      readonly to: ConnectivityState;
      readonly connection: SubchannelConnection | undefined;
      readonly error: ConnectFailure | undefined;
    }
  /**
   * The channel no longer uses the connection to `address`, for example because the address was removed, or because the channel became
   * idle.
   */
  | { readonly type: 'released'; readonly address: string; readonly isReady: boolean }
  /** The number of free streams changed: a connection was opened or lost, its limit changed, or a call on it ended. */
  | { readonly type: 'streams' };
