import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { StreamProgress, StreamReceiver } from './events.js';
import type { WriteBlock } from './frame-writer.js';
import { SendQueue } from './send-queue.js';

/** Start of a message whose length prefix the connection writes. */
const PREFIXED = -5;

/**
 * Bytes that one call sends before it lets the event loop continue, and bytes counted per message in addition to its size: without them, one
 * turn would send 13,000 empty messages.
 */
export const MAX_BURST_BYTES = 65_536;
export const MESSAGE_BYTES = 512;

/** What the messages of a stream wait for: the peer's limit of streams, window of the stream or the connection, or the socket. */
export type SendObstacle = 'stream-limit' | 'stream-window' | 'connection-window' | 'socket';

/** What a stream needs of its connection. */
export interface StreamHost {
  progressOf(id: number): StreamProgress;
  /** True if `size` bytes can be written now in one frame. */
  maySend(stream: Http2Stream, size: number): boolean;
  /** True if the sender of `stream` may send more; if not, `drained()` follows. */
  isWritable(stream: Http2Stream): boolean;
  /** `drained()` follows when what was written has left. */
  awaitDrain(stream: Http2Stream): void;
  writeData(
    stream: Http2Stream,
    bytes: Uint8Array,
    compressed: number,
    from: number,
    size: number,
    isEnd: boolean,
  ): void;
  writeEnd(stream: Http2Stream): void;
  /** What the queued messages of `stream` wait for. */
  obstacleOf(stream: Http2Stream): SendObstacle | undefined;
  /** A message was queued. */
  queued(stream: Http2Stream): void;
  cancel(stream: Http2Stream, code: number): void;
  credit(stream: Http2Stream, heldBytes: number): void;
}

/** The header block of a stream that waits for its turn. */
export interface PendingHead {
  readonly bound: number;
  readonly write: WriteBlock;
}

/** What the streams of one method have in common. */
export interface StreamKind {
  /** Window of the latest response that was larger than the initial window, for the next stream; 0 if that one has begun. */
  window: number;
}

/** One stream of a connection. */
export class Http2Stream {
  /** Set by the connection that creates the stream. */
  receiver!: StreamReceiver;
  /** Identifier; 0 while the stream waits because the peer's limit of streams is reached. */
  id = 0;
  /** Set while the stream waits. */
  pending: PendingHead | undefined = undefined;
  /** Bytes that this side may send, and that the peer may send. */
  sendWindow: number;
  receiveWindow: number;
  /** Size of the window of the peer. */
  window: number;
  receivedBytes = 0;
  kind: StreamKind | undefined = undefined;
  /** Received bytes for which the peer has not got new window. */
  uncredited = 0;
  isAnswered = false;
  /** True if this side, or the peer, sends nothing more. */
  isLocalEnded = false;
  isRemoteEnded = false;
  isClosed = false;
  // Neighbors in the list of streams that can send queued messages.
  isPumping = false;
  previousPumping: Http2Stream | undefined = undefined;
  nextPumping: Http2Stream | undefined = undefined;
  isEndQueued = false;
  awaitsDrain = false;
  private queue: SendQueue | undefined = undefined;

  constructor(
    private readonly connection: StreamHost,
    sendWindow: number,
    receiveWindow: number,
  ) {
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.window = receiveWindow;
  }

  get progress(): StreamProgress {
    if (this.id === 0) return 'never-sent';
    return this.isAnswered ? 'answered' : this.connection.progressOf(this.id);
  }

  get isQueued(): boolean {
    return this.queue !== undefined;
  }

  get obstacle(): SendObstacle | undefined {
    if (this.id === 0) return 'stream-limit';
    return this.queue === undefined ? undefined : this.connection.obstacleOf(this);
  }

  /** Bytes and number of the messages that wait. */
  get queuedBytes(): number {
    return this.queue?.bytes ?? 0;
  }

  get queuedMessages(): number {
    return this.queue?.size ?? 0;
  }

  /**
   * Sends a message, or queues it until the windows and the socket accept it. Returns false if the sender should wait for `drained()`.
   *
   * @param compressed the compressed flag, 0 or 1
   * @param isOwn true if nobody changes `bytes` afterward; otherwise, what waits is copied
   * @param from start of the message; 0 if no length prefix is written
   */
  send(bytes: Uint8Array, compressed = 0, isOwn = false, from = PREFIXED, isEnd = false): boolean {
    if (this.isClosed || this.isLocalEnded || this.isEndQueued) return true;
    const { connection } = this;
    const size = bytes.length - from;
    if (this.queue === undefined && this.id !== 0 && connection.maySend(this, size)) {
      connection.writeData(this, bytes, compressed, from, size, isEnd);
    } else {
      this.isEndQueued = isEnd;
      (this.queue ??= new SendQueue()).add(isOwn ? bytes : Buffer.from(bytes), compressed, from);
      connection.queued(this);
    }
    return connection.isWritable(this);
  }

  /** Sends a body as it is, and nothing more. Nobody changes `bytes` afterward. */
  sendBody(bytes: Uint8Array): void {
    this.send(bytes, 0, true, 0, true);
  }

  /** The sender waits for `drained()`, which follows when what was written has left. */
  awaitDrain(): void {
    if (!this.isClosed) this.connection.awaitDrain(this);
  }

  /** Sends nothing more. */
  end(): void {
    if (this.isClosed || this.isLocalEnded || this.isEndQueued) return;
    if (this.queue === undefined && this.id !== 0) this.connection.writeEnd(this);
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
    if (!this.isClosed) this.connection.credit(this, heldBytes);
  }

  /** Writes at most `room` bytes of the queued messages. */
  writeQueued(room: number): void {
    this.queue?.take(room, (bytes, compressed, offset, size, isLast) => {
      this.connection.writeData(
        this,
        bytes,
        compressed,
        offset,
        size,
        isLast && this.isEndQueued && this.pending === undefined,
      );
    });
    if (this.queue?.size === 0) this.queue = undefined;
  }

  clearQueue(): void {
    this.queue = undefined;
  }
}
