import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import type { Http2Connection } from './connection.js';

/**
 * How far the frames of this side on a stream got. `written`: they were passed to the socket. `acknowledged`: the peer has acknowledged a
 * PING that this side sent after the headers. `answered`: the peer has sent a frame on the stream.
 */
export type StreamProgress = 'never-sent' | 'written' | 'acknowledged' | 'answered';

/** The end of a stream without its regular end. */
export interface StreamFailure {
  /**
   * 'reset': by the peer. 'goaway': the peer announced that it does not process the stream. 'lost': the connection has ended. 'protocol': the
   * peer violated the protocol on this stream, which this side has reset.
   */
  readonly cause: 'reset' | 'goaway' | 'lost' | 'protocol';
  /** HTTP/2 error code (RFC 9113, section 7). */
  readonly code: number;
  readonly details: string;
  readonly progress: StreamProgress;
}

/** Receives the events of a stream. Nothing follows the end of the stream, `failed()`, or `cancel()`. */
export interface StreamReceiver {
  headers(block: HeaderBlock, isEnd: boolean): void;
  /** A piece of a DATA frame's payload, `bytes[at..end)`, which is valid only during the call. */
  data(bytes: Buffer, at: number, end: number): void;
  /** A DATA frame is complete. `isEnd` is true if it ends the stream. */
  dataEnds(isEnd: boolean): void;
  failed(failure: StreamFailure): void;
  /** More messages may be sent. Follows a `send()` that returned false. */
  drained(): void;
}

/** Start of a message whose length-prefix the connection writes, and of one that contains its prefix. */
export const PREFIXED = -5;
export const FRAMED = 0;

interface QueuedMessage {
  readonly bytes: Uint8Array;
  readonly compressed: number;
  /** The first byte that is not sent yet; negative within the prefix. */
  offset: number;
}

/** One stream of a connection. */
export class Http2Stream {
  /** Bytes that this side may send, and that the peer may send. */
  sendWindow: number;
  receiveWindow: number;
  /** Received bytes for which the peer has not got new window. */
  uncredited = 0;
  isAnswered = false;
  /** True if this side, or the peer, sends nothing more. */
  isLocalEnded = false;
  isRemoteEnded = false;
  isClosed = false;
  queuedBytes = 0;
  // Neighbors in the list of streams that can send queued messages.
  isPumping = false;
  previousPumping: Http2Stream | undefined = undefined;
  nextPumping: Http2Stream | undefined = undefined;
  isEndQueued = false;
  awaitsDrain = false;
  /** Messages that are not in the output yet; the first ones before `head` are sent. */
  private queue: (QueuedMessage | undefined)[] | undefined = undefined;
  private head = 0;

  constructor(
    private readonly connection: Http2Connection,
    readonly id: number,
    readonly receiver: StreamReceiver,
    sendWindow: number,
    receiveWindow: number,
  ) {
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  get progress(): StreamProgress {
    return this.isAnswered ? 'answered' : this.connection.progressOf(this.id);
  }

  get isQueued(): boolean {
    return this.queue !== undefined;
  }

  /**
   * Sends a message, or queues it until the windows and the socket accept it. Returns false if the sender should wait for `drained()`.
   *
   * @param bytes must not be changed afterward
   * @param compressed the compressed flag, 0 or 1
   * @param from `FRAMED` if `bytes` contains its length prefix
   */
  send(bytes: Uint8Array, compressed = 0, from: typeof PREFIXED | typeof FRAMED = PREFIXED, isEnd = false): boolean {
    if (this.isClosed || this.isLocalEnded || this.isEndQueued) return true;
    const { connection } = this;
    const size = bytes.length - from;
    if (this.queue === undefined && connection.maySend(this, size)) {
      connection.writeData(this, bytes, compressed, from, size, isEnd);
    } else {
      this.isEndQueued = isEnd;
      (this.queue ??= []).push({ bytes, compressed, offset: from });
      this.queuedBytes += size;
      connection.queued(this);
    }
    return connection.isWritable(this);
  }

  /** Sends nothing more. */
  end(): void {
    if (this.isClosed || this.isLocalEnded || this.isEndQueued) return;
    if (this.queue === undefined) this.connection.writeEnd(this);
    else this.isEndQueued = true;
  }

  /** Ends the stream on this side. No event follows. */
  cancel(code: number = HTTP2_ERROR_CODES.CANCEL): void {
    if (!this.isClosed) this.connection.cancel(this, code);
  }

  /**
   * Gives the peer new window for what was received, except for `heldBytes` that are not consumed yet. Called when messages are consumed
   * and at the end of each DATA frame.
   */
  credit(heldBytes: number): void {
    if (!this.isClosed && !this.isRemoteEnded) this.connection.credit(this, this.uncredited - heldBytes);
  }

  /** Writes at most `room` bytes of the queued messages. */
  writeQueued(room: number): void {
    const { queue } = this;
    if (queue === undefined) return;
    let left = room;
    while (left > 0) {
      const message = queue[this.head];
      if (message === undefined) break;
      const { bytes, compressed, offset } = message;
      const size = Math.min(bytes.length - offset, left);
      const isDone = size === bytes.length - offset;
      const isEnd = isDone && this.isEndQueued && this.head === queue.length - 1;
      this.connection.writeData(this, bytes, compressed, offset, size, isEnd);
      this.queuedBytes -= size;
      left -= size;
      message.offset += size;
      if (isDone) queue[this.head++] = undefined;
    }
    if (this.head === queue.length) this.clearQueue();
    else if (this.head > 64 && this.head * 2 > queue.length) {
      queue.splice(0, this.head);
      this.head = 0;
    }
  }

  clearQueue(): void {
    this.queue = undefined;
    this.head = 0;
    this.queuedBytes = 0;
  }
}
