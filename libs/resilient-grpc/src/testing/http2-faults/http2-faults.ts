import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { Direction } from '../fault-proxy/faults.js';
import type { ScriptedServerTls } from '../scripted-server/scripted-server-options.js';

/** The name of an HTTP/2 error code, or any integer from 0 to 2^32−1, assigned or not. */
export type Http2ErrorCode = keyof typeof HTTP2_ERROR_CODES | number;

/**
 * The point at which a call is reset. 'request': before the call is forwarded, so that the upstream never receives it. 'headers': in place
 * of the upstream's response headers. `afterRequests`, `afterResponses`: after this many complete messages have passed; 0 means after the
 * headers. 'trailers': after the last message, in place of the trailers.
 */
export type ResetPoint =
  'request' | 'headers' | { readonly afterRequests: number } | { readonly afterResponses: number } | 'trailers';

/** A fault that resets a call with `RST_STREAM`. */
export interface ResetFault {
  readonly kind: 'reset';
  readonly code: Http2ErrorCode;
  /** The point of the reset. A call that ends earlier is not affected. @defaultValue 'request' */
  readonly at?: ResetPoint | undefined;
  /** The side that receives `code`. The other side receives CANCEL, as with real proxies. @defaultValue 'to-client' */
  readonly direction?: Direction | undefined;
}

/** A fault that ends the response without trailers, and therefore without a gRPC status. */
export interface MissingTrailersFault {
  readonly kind: 'missing-trailers';
}

/**
 * A fault that sends GOAWAY with a last stream ID below the ID of the call's stream. The call is not forwarded to the upstream. If the
 * code is NO_ERROR, earlier calls continue. Otherwise, the connection is closed, and earlier calls fail.
 */
export interface GoawayFault {
  readonly kind: 'goaway';
  /** @defaultValue 'NO_ERROR' */
  readonly code?: Http2ErrorCode | undefined;
  /** Debug data of the frame, at most 16,376 bytes. @defaultValue none */
  readonly debugData?: string | undefined;
}

/** A fault of a single call. */
export type CallFault = ResetFault | MissingTrailersFault | GoawayFault;

/** Selects the calls that a fault affects. */
export interface CallFilter {
  /** Name of the method ('Get' or 'Orders/Get'), or its full path. @defaultValue every method */
  readonly method?: string | undefined;
  /** Number of calls, 1 or more, starting with the next one. `Infinity` means until the fault is removed. @defaultValue 1 */
  readonly times?: number | undefined;
}

/** Options of a GOAWAY frame. */
export interface GoawayOptions {
  /** The error code. After any code other than NO_ERROR, the connection is closed. @defaultValue 'NO_ERROR' */
  readonly code?: Http2ErrorCode | undefined;
  /**
   * The last stream ID. 'newest': the ID of the newest call; calls in flight finish if the code is NO_ERROR. 'none': 2^31−1, as in the
   * first GOAWAY of a graceful shutdown, after which new calls are still served. An integer from 0 to 2^31−1: calls above it are reported
   * as unprocessed and dropped. The ID never exceeds that of an earlier GOAWAY on the same connection.
   * @defaultValue 'newest'
   */
  readonly lastStreamId?: number | 'newest' | 'none' | undefined;
  /** Debug data of the frame, at most 16,376 bytes. @defaultValue none */
  readonly debugData?: string | undefined;
}

/** TLS options of the connection to the upstream. */
export interface UpstreamTls {
  /** Certificate authority in PEM. @defaultValue the certificate authorities of Node */
  readonly ca?: string | Buffer | undefined;
  /** Key of the proxy in PEM, used with `cert`, for upstreams that request a client certificate. */
  readonly key?: string | Buffer | undefined;
  readonly cert?: string | Buffer | undefined;
  /** The name in the upstream's certificate. @defaultValue the host of the upstream */
  readonly serverName?: string | undefined;
}

/** Options of an HTTP/2 fault proxy. */
export interface Http2FaultProxyOptions {
  /** Port to listen on. @defaultValue 0, a free port */
  readonly port?: number | undefined;
  /** Key and certificate for connections from clients. @defaultValue plaintext */
  readonly tls?: ScriptedServerTls | undefined;
  /** TLS options of the connections to the upstream. @defaultValue plaintext */
  readonly upstreamTls?: UpstreamTls | undefined;
}

/** Counters of a proxy since it was started. */
export interface Http2FaultProxyCounters {
  /** Number of accepted connections. */
  readonly accepted: number;
  /** Number of open connections. */
  readonly open: number;
  /** Number of received calls. Excludes calls above the last stream ID of an earlier GOAWAY. */
  readonly calls: number;
  /** Number of calls forwarded to the upstream. */
  readonly forwarded: number;
  /** Number of calls affected by a fault of `failCalls`. Excludes calls that ended before the point of their fault. */
  readonly failed: number;
  /** Number of pings received from clients. */
  readonly pings: number;
  /** Message of the latest error of an upstream connection, such as a failed TLS handshake; `undefined` before the first error. */
  readonly lastUpstreamError: string | undefined;
}

/** Returns the number of an error code. */
export function errorNumber(code: Http2ErrorCode): number {
  return typeof code === 'number' ? code : HTTP2_ERROR_CODES[code];
}
