import type { StatusCode } from '../../status/status-code.js';

/** What became of an attempt, by its evidence. */
export type VerdictKind =
  /** It succeeded. */
  | 'ok'
  /** No connection was to be had: nothing left this process. */
  | 'unsent'
  /** Failed on this side before it was sent: size, metadata, credentials. */
  | 'local'
  /** The server's transport handed it back unseen: REFUSED_STREAM, or GOAWAY with a lower last id. */
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
  /** Refused, and grpc-js had not kept it to send it again by itself. */
  readonly notKept?: boolean;
}
