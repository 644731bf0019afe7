import type { HeaderBlock } from '../hpack/header-block.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { MemoryProtection } from '../protection.js';
import type { StreamFailure, StreamReceiver } from './events.js';
import type { WriteBlock } from './frame-writer.js';
import { Http2Stream, type StreamHost } from './http2-stream.js';

/** Size of a request that counts as a part of its call. */
const MAX_UNCOUNTED_BYTES = 4_096;

/** Takes the requests of a connection. */
export interface RequestOwner {
  /**
   * A well-formed request of any method and content has arrived; `isEnd` is true if it has no body. The receiver that is returned gets all
   * further events of the stream. The stream may be answered or cancelled at once. `stream.release()` must follow when the owner's work for
   * it is over, also after `failed()`.
   *
   * If `block.isTooLarge`, fields are missing, so only an error is a correct answer.
   */
  request(stream: ServerStream, block: HeaderBlock, isEnd: boolean): StreamReceiver;
  /** Returns how many requests of the connection may be read in this turn of the event loop; any number if absent. While it is 0, nothing is read. */
  wanted?(): number;
  /** The memory for connections is used up, so a stream was refused or ended. */
  memoryUsedUp?(protection: MemoryProtection): void;
}

/** What a server's stream needs of its connection. */
export interface ServerStreamHost extends StreamHost {
  readonly maxHeaderListSize: number;
  writeHead(stream: ServerStream, bound: number, write: WriteBlock): void;
  writeTrailers(stream: ServerStream, bound: number, write: WriteBlock): void;
  consumed(stream: ServerStream, unreadBytes: number, assembledBytes: number): void;
  /** What is buffered for the stream has changed. */
  hold(stream: ServerStream): void;
  /** @returns false if there is no memory for it */
  deliver(stream: ServerStream, bytes: number): boolean;
  released(stream: ServerStream): void;
}

/**
 * One request and its response. What is sent within a turn of the event loop leaves in one write. The stream takes the events of its
 * connection, and passes them on to its user; an exception of the user costs this stream only, and is thrown again in the next tick.
 */
export class ServerStream extends Http2Stream implements StreamReceiver {
  /** True after `release()`. */
  isReleased = false;
  /** Buffered bytes that are counted for this stream. */
  heldBytes = 0;
  /**
   * Bytes that have arrived and that the user has not read, bytes of the message that the user waits for, and bytes of messages that the user
   * has got and not handed over, as buffers and decoded.
   */
  unreadBytes = 0;
  assembledBytes = 0;
  keptBytes = 0;
  keptInHeap = 0;
  /** Bytes of the budget for the request that the application has got, until the stream is released. */
  deliveredBytes = 0;
  /** Time at which the client last sent or took a part of a message. */
  movedAt = 0;
  /** True if the user has the whole request, and only its end is missing. */
  awaitsEnd = false;
  /** True if the user has handed over a message, so that the application may have seen it. */
  isDelivered = false;
  /** Bytes for which the client has got no new window of the connection. */
  owedBytes = 0;
  /** Announced size of the body that has not arrived yet; `undefined` if no size was announced. */
  missingBytes: number | undefined = undefined;
  private user: StreamReceiver | undefined = undefined;
  private earlyFailure: StreamFailure | undefined = undefined;

  constructor(
    private readonly host: ServerStreamHost,
    id: number,
    /** Memory that counts for the call itself, with its header list, until it is released. */
    readonly callBytes: number,
    sendWindow: number,
    receiveWindow: number,
  ) {
    super(host, sendWindow, receiveWindow);
    this.id = id;
    this.receiver = this;
  }

  /** Bytes of messages in either direction. */
  get bufferedBytes(): number {
    return this.unreadBytes + this.assembledBytes + this.keptBytes + this.queuedBytes + (this.pending?.bound ?? 0);
  }

  /** True if the client must send the rest of a request, or take a response, before less is buffered. */
  get awaitsClient(): boolean {
    return this.isQueued || (!this.isRemoteEnded && (this.awaitsEnd || this.assembledBytes > 0));
  }

  /** Tells how many bytes of messages the user has, in either direction, as buffers and decoded. */
  keep(bytes: number, inHeap: number): void {
    if (this.isClosed || (bytes === this.keptBytes && inHeap === this.keptInHeap)) return;
    this.keptBytes = bytes;
    this.keptInHeap = inHeap;
    this.host.hold(this);
  }

  /**
   * Counts a request of `bytes` that the application gets, until its work is over. Returns false if there is no memory for it, so that the
   * call must end.
   */
  deliver(bytes: number): boolean {
    return this.isClosed || bytes <= MAX_UNCOUNTED_BYTES || this.host.deliver(this, bytes);
  }

  /**
   * Size of the largest header list that the client accepts, as RFC 9113, section 6.5.2 counts it; `Infinity` if it has not announced one. A
   * client may end the whole connection because of a larger one.
   */
  get maxHeaderListSize(): number {
    return this.host.maxHeaderListSize;
  }

  /** Sends the head of the response, before its first message. `bound` is an upper bound of the size of what `write` writes. */
  head(bound: number, write: WriteBlock): void {
    if (!this.isClosed && !this.isLocalEnded) this.host.writeHead(this, bound, write);
  }

  /**
   * Ends the response with trailers, or with its only header block if there was no `head()`. They follow the messages that wait; in that
   * case, `drained()` tells that they have been written, and `failed()` that they never will. Otherwise, no event follows. If the request has
   * not ended, RST_STREAM with NO_ERROR tells the client to send nothing more.
   */
  trailers(bound: number, write: WriteBlock): void {
    if (this.isClosed || this.isLocalEnded || this.isEndQueued) return;
    if (!this.isQueued) {
      this.host.writeTrailers(this, bound, write);
      return;
    }
    this.isEndQueued = true;
    this.pending = { bound, write };
    this.host.queued(this);
  }

  /**
   * The user's work for this request is over, for example because its handler has returned. A stream that has ended before that counts until
   * then: if too many of them still work, the connection refuses new ones.
   */
  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.host.released(this);
  }

  /**
   * Tells how much of what has arrived the user holds, so that the client gets new window for the rest. Called at the end of each DATA frame,
   * and when messages are read.
   *
   * @param unreadBytes bytes of messages for which there is no demand
   * @param assembledBytes memory of the incomplete message that is wanted; the client gets window for it within the connection's limit
   */
  override credit(unreadBytes: number, assembledBytes = 0): void {
    if (!this.isClosed) this.host.consumed(this, unreadBytes, assembledBytes);
  }

  override writeQueued(room: number): void {
    super.writeQueued(room);
    const { pending } = this;
    if (pending === undefined || this.isQueued || this.isClosed) return;
    this.pending = undefined;
    this.host.writeTrailers(this, pending.bound, pending.write);
    this.drained();
  }

  // ── of the connection ──

  /** Passes the request to its user. */
  begin(owner: RequestOwner, block: HeaderBlock, isEnd: boolean): void {
    try {
      this.user = owner.request(this, block, isEnd);
      if (this.earlyFailure !== undefined) this.user.failed(this.earlyFailure);
    } catch (error) {
      this.release();
      this.userFailed(error);
    }
  }

  headers(block: HeaderBlock, isEnd: boolean): void {
    try {
      this.user?.headers(block, isEnd);
    } catch (error) {
      this.userFailed(error);
    }
  }

  data(bytes: Buffer, at: number, end: number): void {
    try {
      this.user?.data(bytes, at, end);
    } catch (error) {
      this.userFailed(error);
    }
  }

  dataEnds(isEnd: boolean): void {
    try {
      if (!this.isClosed) this.user?.dataEnds(isEnd);
    } catch (error) {
      this.userFailed(error);
    }
  }

  failed(failure: StreamFailure): void {
    // The stream may fail while the user is being found, for example because that closes the connection.
    if (this.user === undefined) this.earlyFailure = failure;
    try {
      this.user?.failed(failure);
    } catch (error) {
      this.userFailed(error);
    }
  }

  drained(): void {
    try {
      this.user?.drained();
    } catch (error) {
      this.userFailed(error);
    }
  }

  private userFailed(error: unknown): void {
    this.cancel(HTTP2_ERROR_CODES.INTERNAL_ERROR);
    process.nextTick(() => {
      throw error;
    });
  }
}
