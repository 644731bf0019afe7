import type { Direction } from '../fault-proxy/faults.js';
import type { ScriptedServerTls } from '../scripted-server/scripted-server-options.js';

/** Error codes of HTTP/2 (RFC 9113, section 7) by their names. */
export const HTTP2_ERROR_CODES = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

/** A name, or any number, also one that has none. */
export type Http2ErrorCode = keyof typeof HTTP2_ERROR_CODES | number;

/**
 * Where in a call it is reset. 'request': before it is forwarded, so that the upstream never hears of it. 'headers': when the
 * upstream has answered, in place of its headers. `afterRequests`, `afterResponses`: when so many whole messages have passed;
 * 0 is behind the headers. 'trailers': behind the last message, in place of the trailers.
 */
export type ResetPoint =
  'request' | 'headers' | { readonly afterRequests: number } | { readonly afterResponses: number } | 'trailers';

/** `RST_STREAM` at a place of a call. */
export interface ResetFault {
  readonly kind: 'reset';
  readonly code: Http2ErrorCode;
  /** A call that ends before it gets there is left as it is. @defaultValue 'request' */
  readonly at?: ResetPoint | undefined;
  /** Who gets `code`; the other side gets CANCEL, as from proxies. @defaultValue 'to-client' */
  readonly direction?: Direction | undefined;
}

/** The response ends without trailers, and so without a gRPC status. */
export interface MissingTrailersFault {
  readonly kind: 'missing-trailers';
}

/**
 * GOAWAY whose last stream id is below that of the call, which is not forwarded: the upstream never hears of it. Calls
 * before it go on behind NO_ERROR; behind any other code the connection is closed, and they with it.
 */
export interface GoawayFault {
  readonly kind: 'goaway';
  /** @defaultValue 'NO_ERROR' */
  readonly code?: Http2ErrorCode | undefined;
  readonly debugData?: string | undefined;
}

/** What goes wrong with a call. */
export type CallFault = ResetFault | MissingTrailersFault | GoawayFault;

/** Which calls. */
export interface CallChoice {
  /** 'Get', 'Orders/Get' or a full path. @defaultValue every method */
  readonly method?: string | undefined;
  /** How many, from the next one on; Infinity until `heal`. @defaultValue 1 */
  readonly times?: number | undefined;
}

/** A GOAWAY frame. */
export interface GoawayOptions {
  /** Behind any but NO_ERROR the connection is closed, as HTTP/2 has it. @defaultValue 'NO_ERROR' */
  readonly code?: Http2ErrorCode | undefined;
  /**
   * 'newest': the newest call that came; calls in flight finish. 'none': 2^31−1, the notice before the real one, after which
   * new calls are still served. A number: calls above it were, it says, never seen, and are forgotten. @defaultValue 'newest'
   */
  readonly lastStreamId?: number | 'newest' | 'none' | undefined;
  readonly debugData?: string | undefined;
}

/** How the proxy connects to an upstream that speaks TLS. */
export interface UpstreamTls {
  /** Authority in PEM. @defaultValue those of Node */
  readonly ca?: string | Buffer | undefined;
  /** Key and certificate of the proxy in PEM, for upstreams that ask for one. */
  readonly key?: string | Buffer | undefined;
  readonly cert?: string | Buffer | undefined;
  /** The name in the upstream's certificate. @defaultValue its host */
  readonly serverName?: string | undefined;
}

/** Options of a proxy that ends HTTP/2. */
export interface Http2FaultProxyOptions {
  /** Port to listen on. @defaultValue 0, a free one */
  readonly port?: number | undefined;
  /** Key and certificate shown to clients. @defaultValue plain text */
  readonly tls?: ScriptedServerTls | undefined;
  /** @defaultValue plain text */
  readonly upstreamTls?: UpstreamTls | undefined;
}

/** What a proxy has seen since it was started. */
export interface Http2FaultProxyCounters {
  /** Connections accepted. */
  readonly accepted: number;
  /** Connections that are open. */
  readonly open: number;
  /** Calls that came; those of them that were forwarded. */
  readonly calls: number;
  readonly forwarded: number;
  /** Calls that a fault of `failCalls` has hit; one that ends before its place is reached is none. */
  readonly failed: number;
  /** Pings of clients. */
  readonly pings: number;
}

/** The number of an error code. */
export function errorNumber(code: Http2ErrorCode): number {
  return typeof code === 'number' ? code : HTTP2_ERROR_CODES[code];
}
