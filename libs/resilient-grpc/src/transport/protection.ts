/**
 * What this side ends a connection for, refuses or resets a stream for, or delays one for, by its own will. The table of all protections is
 * in docs/internals/protections.md.
 */
export type TransportProtection =
  /** The peer violated HTTP/2, HPACK, or gRPC. */
  | 'protocol-violation'
  /** A header block of too many bytes, or of many small frames. */
  | 'header-block'
  /** A header list that is too large when it is decoded. */
  | 'header-list'
  /** Too many frames that change nothing, or that change all streams. */
  | 'frames-without-effect'
  /** The peer sends frames that are acknowledged, and does not read. */
  | 'unsent-acknowledgements'
  /** PINGs below the minimum interval. */
  | 'too-many-pings'
  /** No byte follows a PING. */
  | 'keepalive'
  /** The peer does not close a connection that one side has ended. */
  | 'close-timeout'
  /** A message above the limit, also when it is inflated. */
  | 'message-size'
  /** Few messages of a process are inflated at once. */
  | 'inflation'
  /** A handshake fails, takes too long, or does not agree on HTTP/2. */
  | 'handshake'
  /** TLS is renegotiated. */
  | 'tls-renegotiation'
  /** The client does not speak HTTP/2. */
  | 'foreign-protocol'
  /** The client does not complete its preface, its settings, or a frame. */
  | 'head-timeout'
  /** The client does not read. */
  | 'send-timeout'
  /** The server shuts down. */
  | 'drain'
  /** The client does not acknowledge a planned end in time, so its further requests are refused. */
  | 'drain-timeout'
  /** More connections than `connections.max`, or than the heap has room for. */
  | 'max-connections'
  /** The age of a connection: a planned end, and the end of the calls that outlast its grace. */
  | 'age'
  | 'age-grace'
  /** A connection without calls. */
  | 'idle'
  /** More open streams than the limit. */
  | 'concurrent-streams'
  /** More streams that have ended, and whose handlers still run, than the limit. */
  | 'cancelled-streams'
  /** Too many cancelled or refused calls. */
  | 'resets'
  /** A request that has its message and does not end. */
  | 'unended-request'
  /** New requests, or all input, wait for the next turn, or for the output. */
  | 'read-turns'
  /** Large messages of a connection wait for each other while memory is scarce. */
  | 'message-turns'
  /** New streams are refused, because memory is scarce. */
  | 'memory-refused'
  /** A request that is not passed on, because handlers hold too much. */
  | 'request-memory'
  /** What holds memory is ended, because it is used up. */
  | 'memory-shed';

/** Why a connection ends when its calls have ended. */
export type PlannedEnd = Extract<TransportProtection, 'drain' | 'drain-timeout' | 'age' | 'idle'>;

/** What bounds the memory of all connections. */
export type MemoryProtection = Extract<TransportProtection, 'memory-refused' | 'request-memory' | 'memory-shed'>;
