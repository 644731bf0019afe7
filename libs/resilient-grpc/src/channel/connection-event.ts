import type { ConnectivityState } from '../call/connectivity.js';
import type { EndedConnection } from './connection/address-histories.js';
import type { ConnectFailure } from './connection/connect-failure.js';
import type { EstablishedConnection } from './connection/established-connection.js';

/** An event of a wire channel or one of its connections. Its managed channel handles it. */
export type ConnectionEvent =
  | { readonly type: 'state'; readonly state: ConnectivityState; readonly error: string | undefined }
  | { readonly type: 'connect-failed'; readonly failure: ConnectFailure }
  /** A connection opened (1) or closed (−1). */
  | { readonly type: 'open-connections'; readonly change: 1 | -1 }
  /** A connection that was READY ended. */
  | { readonly type: 'ended'; readonly ended: EndedConnection }
  /** An ended connection was judged: at once, or later if it was undecided. */
  | { readonly type: 'judged'; readonly ended: EndedConnection }
  /** The channel no longer uses the connection to `address`: the address was removed, or the channel went idle. */
  | { readonly type: 'released'; readonly address: string }
  | { readonly type: 'keepalive-throttled'; readonly keepaliveTimeMs: number }
  /** This side ended a call on `connection` because it took too long, `waitedMs` after its start. */
  | { readonly type: 'call-timed-out'; readonly connection: EstablishedConnection; readonly waitedMs: number };
