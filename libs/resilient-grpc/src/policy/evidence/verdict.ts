import type { StatusCode } from '../../status/status-code.js';

/** What became of an attempt, by its evidence. */
export type VerdictKind =
  /** It succeeded. */
  | 'ok'
  /** Nothing left this process: no connection was available, or the stream was still queued when its connection ended. */
  | 'unsent'
  /** Failed on this side before it was sent: size, metadata, credentials. */
  | 'local'
  /**
   * The server's transport rejected it. 'no' reached the server if a GOAWAY named a lower last stream id; 'maybe' if it was reset with
   * REFUSED_STREAM alone, which proxies send for requests that were processed.
   */
  | 'refused'
  /** The connection or its stream broke off without an answer of gRPC, whatever the code said. */
  | 'connection-lost'
  /** Something answered in HTTP that does not speak gRPC: a proxy, a gateway. */
  | 'http'
  /** A status without headers or messages before it, by the server. */
  | 'server'
  /** Failed after headers or messages had come. */
  | 'committed'
  | 'deadline'
  | 'attempt-timeout'
  /** Nothing came on a response stream for longer than it may be silent. */
  | 'stream-idle'
  /** By the caller, its parent call, an interceptor, or close. */
  | 'cancelled'
  /** The answer broke the rules of its method: no message, a second one, or one that cannot be read. */
  | 'protocol'
  /** A request message that cannot be written. */
  | 'serialize';

/** The judgement of one attempt: what it was, how far it got, and the status a caller should see. */
export interface Verdict {
  readonly kind: VerdictKind;
  /** May the server's application have seen the request? */
  readonly reachedServer: 'no' | 'maybe' | 'yes';
  readonly code: StatusCode;
  readonly details: string;
  /** An HTTP answer that tells of a passing trouble: 429, 502, 503, 504. False for all other kinds. */
  readonly retryableHttp: boolean;
  /** The connection or its stream broke off, before an answer ('connection-lost') or within one ('committed'). */
  readonly connectionLost: boolean;
  /** The code that grpc-js reported; present if `code` replaces it. */
  readonly originalCode?: StatusCode;
  /** The server reset the stream with ENHANCE_YOUR_CALM and kept the connection: it asks for less load. */
  readonly overloaded?: boolean;
}
