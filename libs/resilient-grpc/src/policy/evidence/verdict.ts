import type { StatusCode } from '../../status/status-code.js';

/** Connection that an attempt lost, or that had received GOAWAY when the attempt ended. */
export interface LostConnection {
  /** The same object for all attempts on one connection. */
  readonly connection: object;
  /** True if the connection accepts no more streams: it closed, or the server sent GOAWAY. False if only the stream was reset. */
  readonly acceptsNoStreams: boolean;
}

/** Result of an attempt, classified by its evidence. */
export type VerdictKind =
  /** The attempt succeeded. */
  | 'ok'
  /** Nothing was sent: no connection was available, or the stream was still queued when its connection ended. */
  | 'unsent'
  /** The attempt failed locally, because of its metadata, its credentials, an interceptor, or the size of a request message. */
  | 'local'
  /**
   * The server's transport rejected the stream. `reachedServer` is 'no' if the last stream ID of a GOAWAY is lower than the ID of the
   * stream; 'maybe' if the stream was only reset with REFUSED_STREAM, which proxies also send for processed requests.
   */
  | 'refused'
  /** The connection or the attempt's stream was lost without a response from the server's application, whatever the code is. */
  | 'connection-lost'
  /** An HTTP response that is not gRPC, from a proxy or a gateway. */
  | 'http'
  /** The server sent only a status, without headers or messages. Also includes resets that no other kind covers, such as PROTOCOL_ERROR. */
  | 'server'
  /** An overloaded server refused the attempt before its handler ran. Set only by `verdictOf`. */
  | 'overloaded'
  /** The attempt failed after headers or messages had arrived. */
  | 'committed'
  | 'deadline'
  | 'attempt-timeout'
  /** A response stream exceeded its idle timeout. */
  | 'stream-idle'
  /** Cancelled by the caller, the parent call, an interceptor, or `close()`, or because another hedged attempt responded first. */
  | 'cancelled'
  /** The response was invalid: no message, a second message, an unreadable or oversized message, or an invalid status code. */
  | 'protocol'
  /** A request message could not be serialized. */
  | 'serialize';

/** Classification of one attempt: its kind, how far it got, and the status for the caller. */
export interface Verdict {
  readonly kind: VerdictKind;
  /** Certainty that the server's application received the request. */
  readonly reachedServer: 'no' | 'maybe' | 'yes';
  readonly code: StatusCode;
  readonly details: string;
  /** True if the attempt received an HTTP response with a transient error: 429, 502, 503, or 504. */
  readonly retryableHttp: boolean;
  /**
   * True if the connection or the attempt's stream was lost, before a response ('connection-lost') or during one ('committed'). False if
   * `overloaded` is true.
   */
  readonly connectionLost: boolean;
  /**
   * Code that grpc-js reported for an attempt that lost its connection or stream; absent if that code is invalid. `code` is UNAVAILABLE for
   * such an attempt.
   */
  readonly originalCode?: StatusCode;
  /** True if the server requested less load: it reset the stream with ENHANCE_YOUR_CALM and kept the connection. */
  readonly overloaded?: boolean;
}
