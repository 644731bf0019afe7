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
  /**
   * grpc-js still had all of the request: it has sent a refused one again by itself, once. @defaultValue true
   */
  readonly kept?: boolean;
  /** Response headers arrived (a trailers-only answer has none). */
  readonly headersReceived: boolean;
  readonly messagesReceived: number;
  /** First `content-type` of the headers or else of the trailers: 'application/grpc…' was written by a gRPC server. */
  readonly contentType: string | undefined;
}
