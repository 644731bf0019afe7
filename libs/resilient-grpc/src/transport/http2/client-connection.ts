import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { Clock } from '../../time/clock.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import { Http2Connection, type ConnectionSettings } from './connection.js';
import type { ClientOwner, StreamProgress, StreamReceiver } from './events.js';
import type { WriteBlock } from './frame-writer.js';
import { MAX_STREAM_ID, PREFACE, Setting } from './frames.js';
import { Http2Stream, type StreamKind } from './http2-stream.js';

const { NO_ERROR, PROTOCOL_ERROR } = HTTP2_ERROR_CODES;

/** Number of streams at the start of the list of waiting ones that may have started before they are removed. */
const MIN_STARTED = 64;
/** Number of stream ids that are left when a connection asks to be replaced. */
const RESERVED_IDS = 2_048;

/** Bytes by which the windows of a connection's streams together may exceed the initial window. They bound the memory. */
const MAX_EXTRA_WINDOW = 16_777_216;

/** Maximum size of a header block of a server: its error details may be as large as a message, and should cost one call only. */
const MAX_BLOCK_BYTES = 4_194_304;

/** The client's side of a connection. */
export class ClientConnection extends Http2Connection {
  protected readonly maxEnablePush = 0;
  declare protected readonly owner: ClientOwner;
  private writtenUpTo: number;
  private isRunningOut = false;
  /** Streams that wait because the peer's limit is reached, and the place of the first one. */
  private pending: (Http2Stream | undefined)[] = [];
  private firstPending = 0;
  /** Number of streams among them that were cancelled. */
  private cancelledPending = 0;

  constructor(owner: ClientOwner, settings: ConnectionSettings, clock: Pick<Clock, 'now'>, firstId = 1) {
    super(owner, settings, clock, MAX_EXTRA_WINDOW, MAX_BLOCK_BYTES);
    this.nextId = firstId;
    this.writtenUpTo = firstId - 2;
    this.writer.raw(PREFACE);
    this.writeSettings([Setting.ENABLE_PUSH, 0]);
  }

  /** True if the connection takes another stream now. */
  get canOpen(): boolean {
    return this.isUsable && this.streams.size < this.maxConcurrentStreams;
  }

  /** True if the connection takes new streams, now or when others have closed. */
  get isUsable(): boolean {
    return !this.isEnded && this.goaway === undefined && this.nextId <= MAX_STREAM_ID;
  }

  /**
   * Opens a stream, which waits if the peer's limit is reached. `isUsable` must be true.
   *
   * @param bound upper bound of the size of the header block that `write` writes
   * @param kind what the streams of the method have in common: if their latest response was large, this one's window is so from the start
   */
  open(receiver: StreamReceiver, bound: number, write: WriteBlock, kind?: StreamKind): Http2Stream {
    const { streamWindow } = this.settingsOfThisSide;
    const stream = new Http2Stream(this, this.initialSendWindow, streamWindow);
    stream.receiver = receiver;
    stream.kind = kind;
    if (this.canOpen && this.firstPending === this.pending.length) this.start(stream, bound, write);
    else {
      stream.pending = { bound, write };
      this.pending.push(stream);
    }
    return stream;
  }

  private start(stream: Http2Stream, bound: number, write: WriteBlock): void {
    stream.id = this.nextId;
    this.nextId += 2;
    if (this.nextId > MAX_STREAM_ID - 2 * RESERVED_IDS && !this.isRunningOut) {
      this.isRunningOut = true;
      this.owner.idsRunOut();
    }
    this.streams.add(stream);
    this.writeBlock(stream.id, false, bound, write);
    const { kind } = stream;
    if (kind === undefined || kind.window === 0) return;
    const extra = this.widen(stream, kind.window);
    // The stream keeps the window to its end, even if it needs less, so the next one gets none before a large response has ended.
    kind.window = 0;
    if (extra > 0) this.writer.windowUpdate(stream.id, extra);
  }

  /** Starts the streams that wait, as far as the peer's limit allows. */
  private startPending(): void {
    while (this.firstPending < this.pending.length && this.canOpen) {
      const stream = this.pending[this.firstPending];
      this.pending[this.firstPending++] = undefined;
      if (stream?.pending === undefined) continue;
      const { bound, write } = stream.pending;
      stream.pending = undefined;
      stream.sendWindow = this.initialSendWindow;
      this.start(stream, bound, write);
      if (stream.isQueued) this.queued(stream);
      else if (stream.isEndQueued) this.writeEnd(stream);
    }
    const { firstPending: started, pending } = this;
    if (started > 0 && (started === pending.length || (started >= MIN_STARTED && started * 2 >= pending.length)))
      this.pending = this.takeWaiting();
    if (this.nextId <= MAX_STREAM_ID) return;
    for (const stream of this.takeWaiting())
      this.fail(stream, 'goaway', NO_ERROR, 'the stream ids have run out', undefined);
  }

  /** Removes cancelled streams when they are the majority: the peer may allow no stream for a long time. */
  private pendingCancelled(): void {
    this.cancelledPending += 1;
    if (this.cancelledPending * 2 > this.pending.length - this.firstPending) this.pending = this.takeWaiting();
  }

  /** Removes the streams that wait. */
  protected override takeWaiting(): Http2Stream[] {
    const waiting = this.pending.filter((stream) => stream?.pending !== undefined) as Http2Stream[];
    this.pending = [];
    this.firstPending = 0;
    this.cancelledPending = 0;
    return waiting;
  }

  progressOf(id: number): StreamProgress {
    if (id > this.writtenUpTo) return 'never-sent';
    return id > this.acknowledgedUpTo ? 'written' : 'acknowledged';
  }

  override takeOutput(): Buffer[] {
    // The end of the connection has discarded the headers that were not written.
    if (!this.isEnded) this.writtenUpTo = this.nextId - 2;
    return super.takeOutput();
  }

  protected writeGoaway(code: number, debug: string): void {
    // The streams that are not sent yet fail as such.
    this.writer.drop();
    this.writer.goaway(0, code, debug);
  }

  cancel(stream: Http2Stream, code: number): void {
    const { id, isRemoteEnded } = stream;
    this.close(stream);
    if (id === 0) this.pendingCancelled();
    if (id === 0 || isRemoteEnded) return;
    this.writer.reset(id, code);
    this.startPending();
    this.wake();
  }

  protected dataReceived(_stream: Http2Stream | undefined, length: number): void {
    // The windows of the streams bound the memory.
    this.creditConnection(length);
  }

  headers(id: number, isEnd: boolean, block: HeaderBlock): void {
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.requireKnown(id, 'HEADERS');
      this.useless('HEADERS');
      return;
    }
    stream.isAnswered = true;
    if (block.status?.startsWith('1') === true) this.useless('informational HEADERS');
    const { path, method, scheme, authority } = block;
    const isRequest = (path ?? method ?? scheme ?? authority) !== undefined;
    const problem = block.malformed ?? (isRequest ? 'a pseudo-header field of requests' : undefined);
    if (problem !== undefined) {
      this.reject(stream, PROTOCOL_ERROR, problem);
      return;
    }
    if (isEnd) this.remoteEnded(stream);
    stream.receiver.headers(block, isEnd);
  }

  override goawayReceived(lastId: number, code: number, debug: string): void {
    // Told first, so that the calls of refused streams find another connection.
    super.goawayReceived(lastId, code, debug);
    const details = `GOAWAY with code ${String(code)}${debug === '' ? '' : ` (${debug})`}`;
    const refused = [...this.streams.all().filter(({ id }) => id > lastId), ...this.takeWaiting()];
    for (const stream of refused) if (!stream.isClosed) this.fail(stream, 'goaway', code, details, undefined);
  }

  /** The peer sends nothing more. What this side still sends is useless: gRPC's responses end last. */
  protected remoteEnded(stream: Http2Stream): void {
    stream.isRemoteEnded = true;
    const isLocalEnded = stream.isLocalEnded;
    this.close(stream, true);
    if (!isLocalEnded) this.writer.reset(stream.id, NO_ERROR);
    this.startPending();
  }

  protected placeFreed(): void {
    this.startPending();
  }
}
