/** What a connection shows of one HTTP/2 stream. A server cannot forge it with the text of a status. */
export interface WireEvidence {
  /**
   * The server's application never saw the stream. 'never-sent': its HEADERS frame did not leave this side. 'rejected': a GOAWAY named
   * a lower last stream id (RFC 9113, section 6.8). `undefined`: the application may have seen it.
   */
  readonly unprocessed: 'never-sent' | 'rejected' | undefined;
  /** `:status` of the response; `undefined` if neither headers nor trailers came. */
  readonly httpStatus: number | undefined;
  /** HTTP/2 error code with which the stream closed before a status came; `undefined` if a status came, or if this side closed it. */
  readonly resetCode: number | undefined;
  /** This side reset the stream before the server ended it. */
  readonly closedHere: boolean;
  /** Code of the GOAWAY that the server sent after the attempt began; `undefined` if it sent none. */
  readonly goawayCode: number | undefined;
  /** The connection takes no more streams: it is closed, or the server sent GOAWAY. */
  readonly connectionOver: boolean;
}

/** How an attempt ended, with what is needed to judge how far it got. Flags of ours come before texts, which a server could forge. */
export interface AttemptEvidence {
  /** As the transport gave it; may be no status code at all (NaN, 99, undefined of an unsupported encoding). */
  readonly code: number;
  readonly details: string;
  /** A connection was picked for it: bytes may have left. */
  readonly picked: boolean;
  /** The channel was READY when it ended. A failure without a connection on a READY channel was made on this side. */
  readonly channelReady: boolean;
  /** This side ended it. */
  readonly endedHere:
    'no' | 'deadline' | 'attempt-timeout' | 'stream-idle' | 'cancel' | 'protocol' | 'serialize' | 'closed';
  /** What the connection shows of its stream; absent if it had none. */
  readonly wire?: WireEvidence | undefined;
  /** Response headers arrived (a trailers-only answer has none). */
  readonly headersReceived: boolean;
  readonly messagesReceived: number;
  /** First `content-type` of the headers or else of the trailers: 'application/grpc…' was written by a gRPC server. */
  readonly contentType: string | undefined;
}
