/** HTTP/2 evidence of one stream. A server cannot forge this evidence with a status message. */
export interface WireEvidence {
  /**
   * Reason why the server's application did not receive the stream. 'never-sent': its HEADERS frame was not sent. 'refused-here': the
   * server would not accept it on any connection. 'rejected': a
   * GOAWAY had a lower last stream ID (RFC 9113, section 6.8). `undefined`: the application may have received it.
   */
  readonly unprocessed: 'never-sent' | 'refused-here' | 'rejected' | undefined;
  /** `:status` of the response; `undefined` if neither headers nor trailers arrived. */
  readonly httpStatus: number | undefined;
  /** HTTP/2 error code of a stream that closed without a gRPC status; `undefined` if one arrived or if this side closed the stream. */
  readonly resetCode: number | undefined;
  /** True if this side reset the stream before the server ended it. */
  readonly closedHere: boolean;
  /** Error code of the GOAWAY that the server sent after the attempt started; `undefined` if it sent none. */
  readonly goawayCode: number | undefined;
  /** True if the connection accepts no more streams: it is closed, or the server sent GOAWAY. */
  readonly acceptsNoStreams: boolean;
  /** True if the connection ended because the peer no longer responded: TCP, a keepalive ping, or a probe timed out. */
  readonly timedOut: boolean;
}

/** Evidence of how an attempt ended and how far it got. Local flags take precedence over status messages, which a server could forge. */
export interface AttemptEvidence {
  /** Code as the transport reported it; may be an invalid status code (NaN, 99, or undefined for an unsupported encoding). */
  readonly code: number;
  readonly details: string;
  /** True if a connection was picked. Bytes may then have been sent. */
  readonly picked: boolean;
  /** True if the channel was READY when the attempt ended. A failure without a picked connection is then usually local. */
  readonly channelReady: boolean;
  /**
   * Reason why this side ended the attempt; 'no' if it did not. 'not-prepared': the metadata function or an interceptor failed before
   * anything was sent.
   */
  readonly endedHere:
    | 'no'
    | 'not-prepared'
    | 'deadline'
    | 'attempt-timeout'
    | 'stream-idle'
    | 'cancel'
    | 'protocol'
    | 'serialize'
    | 'closed';
  /** HTTP/2 evidence from the attempt's stream; absent if it had no stream. */
  readonly wire?: WireEvidence | undefined;
  /** True if response headers arrived; a trailers-only response has none. */
  readonly headersReceived: boolean;
  readonly messagesReceived: number;
  /** First `content-type` of the headers, or else of the trailers. A response with 'application/grpc…' is attributed to the server. */
  readonly contentType: string | undefined;
}
