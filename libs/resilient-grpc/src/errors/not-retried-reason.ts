/** Reason why a failed attempt is not followed by another one. A minor version may add reasons; handle unknown ones in a default branch. */
export type RetryRefusal =
  /** Part of the response had arrived. */
  | 'committed'
  /** The status code is not listed in the retry or hedging policy of the method, or, if the method has neither, in the default retry policy. */
  | 'fatal-status'
  /** The method is not declared safe to repeat, and the server may have received the request. */
  | 'not-safe-to-repeat'
  /** The server's pushback forbids a retry, or the server refused the call because of an overload. */
  | 'pushback'
  /** The retry budget of the client is used up. */
  | 'throttled'
  /** The call has made `maxAttempts` attempts, or has waited for the channel 10 times without being sent. */
  | 'attempts-exhausted'
  /** The deadline has passed, or would pass before the next attempt. */
  | 'deadline'
  /** The call serves an inbound retry, and the server may have received the request. Retries of both layers would multiply. */
  | 'retry-chain'
  /** The caller or an interceptor cancelled the call, or the inbound call in its option `parent` was cancelled. */
  | 'cancelled'
  /** The client is shutting down. */
  | 'draining'
  /** The caller set `retry: false`. */
  | 'disabled'
  /** The failure occurred in the client and would recur. Its cause is the options, a message, metadata, credentials, or an interceptor. */
  | 'local'
  /** The request does not fit in the retry buffers, or a message of a request stream becomes serializable only in a grpc-js interceptor. */
  | 'request-not-replayable'
  /** The response is not valid gRPC, or exceeds `maxReceiveMessageLength`. Another attempt would receive the same response. */
  | 'protocol'
  /** The hedge budget of the client is used up. */
  | 'hedge-budget';
