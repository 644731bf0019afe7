import type { CallPath } from '../call/call-path.js';
import type { ConnectivityState, EndpointWatchSnapshot } from '../call/connectivity.js';
import type { UntestedVersion } from '../call/untested-version.js';
import type { AddressHistoryEvent, EndedConnection } from './connection/address-histories.js';
import type { ConnectFailure } from './connection/connect-failure.js';
import type { EstablishedConnection } from './connection/established-connection.js';

/** An event of a wire channel or of one of its connections. The managed channel handles it. */
export type ConnectionEvent =
  | AddressHistoryEvent
  | { readonly type: 'state'; readonly state: ConnectivityState; readonly error: string | undefined }
  /**
   * An attempt to connect failed. `address` is `undefined` if the name could not be resolved, if no endpoint is serving, or if the
   * connection is not observed. `isFurther` is true for a further connection to `address`.
   */
  | {
      readonly type: 'connect-failed';
      readonly address: string | undefined;
      readonly isFurther: boolean;
      readonly failure: ConnectFailure;
    }
  | { readonly type: 'connected'; readonly address: string; readonly callPath: CallPath }
  /** A READY connection ended. */
  | { readonly type: 'ended'; readonly ended: EndedConnection }
  /** The channel no longer uses the READY connection to `address`, for example because the address was removed or the channel is idle. */
  | { readonly type: 'released'; readonly address: string }
  /**
   * The client ended a call on `connection` because the call took too long. `waitedMs`: time since the start of the attempt; 0 if the call
   * was waiting for a message of its response stream.
   */
  | { readonly type: 'call-timed-out'; readonly connection: EstablishedConnection; readonly waitedMs: number }
  /** The number of free streams changed, because a connection was opened or lost, its limit changed, or a call on it ended. */
  | { readonly type: 'streams' }
  | { readonly type: 'keepalive-throttled'; readonly keepaliveTimeMs: number }
  | { readonly type: 'lookup-ended'; readonly ok: boolean; readonly isError: boolean }
  | { readonly type: 'addresses'; readonly addresses: readonly string[] }
  | { readonly type: 'endpoint-watch'; readonly watch: EndpointWatchSnapshot }
  | { readonly type: 'addresses-limited'; readonly reported: number; readonly used: number }
  | ({ readonly type: 'untested-version' } & UntestedVersion);
