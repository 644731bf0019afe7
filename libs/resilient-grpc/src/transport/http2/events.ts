import type { HeaderBlock } from '../hpack/header-block.js';
import type { TransportProtection } from '../protection.js';

/**
 * How far the frames of this side on a stream got. `written`: they were passed to the socket. `acknowledged`: the peer has acknowledged a
 * PING that this side sent after the headers. `answered`: the peer has sent a frame on the stream.
 */
export type StreamProgress = 'never-sent' | 'written' | 'acknowledged' | 'answered';

/** The end of a stream without its regular end. */
export interface StreamFailure {
  /**
   * 'reset': by the peer. 'goaway': the peer announced that it does not process the stream. 'lost': the connection has ended. 'protocol': the
   * peer violated the protocol, or a limit of memory, on this stream, which this side has reset.
   */
  readonly cause: 'reset' | 'goaway' | 'lost' | 'protocol';
  /** HTTP/2 error code (RFC 9113, section 7). */
  readonly code: number;
  readonly details: string;
  readonly progress: StreamProgress;
  /** What this side has ended the stream, or its connection, for; `undefined` if it has not. */
  readonly protection: TransportProtection | undefined;
}

/** Receives the events of a stream. Nothing follows the end of the stream, `failed()`, or `cancel()`. */
export interface StreamReceiver {
  headers(block: HeaderBlock, isEnd: boolean): void;
  /** A piece of a DATA frame's payload, `bytes[at..end)`, which is valid only during the call. */
  data(bytes: Buffer, at: number, end: number): void;
  /** A DATA frame is complete. `isEnd` is true if it ends the stream. */
  dataEnds(isEnd: boolean): void;
  failed(failure: StreamFailure): void;
  /** More messages may be sent, or the trailers of a server that waited have been written. Follows a `send()` that returned false. */
  drained(): void;
}

/** A GOAWAY of the peer. */
export interface Goaway {
  readonly lastId: number;
  readonly code: number;
  readonly debug: string;
}

/** End of a connection. `isPeersFault` is true if the peer violated the protocol, or a limit; `isPlanned`, if its calls had ended before. */
export interface ConnectionEnd {
  readonly code: number;
  readonly details: string;
  readonly isPeersFault: boolean;
  readonly isPlanned?: boolean;
  /** What this side has ended the connection for; `undefined` if the peer or the network has, or if its user needs it no more. */
  readonly protection: TransportProtection | undefined;
}

/** Receives the events of a connection. */
export interface ConnectionOwner {
  /** There is output. The owner passes it to the socket soon, once for all frames of a turn of the event loop. */
  wake(): void;
  /** The peer's settings have arrived, for the first time if `isFirst`. */
  settingsReceived(isFirst: boolean): void;
  goawayReceived(goaway: Goaway): void;
  /** Nothing follows. Output that is left, such as a GOAWAY, should still be sent. */
  ended(end: ConnectionEnd): void;
}

/** Receives the events of a client's connection. */
export interface ClientOwner extends ConnectionOwner {
  /** Few stream ids are left, so further calls should use another connection. */
  idsRunOut(): void;
}

/** A PING without an answer. */
export interface SentPing {
  readonly number: number;
  /** The highest stream id whose headers were written before the PING. */
  readonly upTo: number;
  readonly acknowledged: () => void;
}
