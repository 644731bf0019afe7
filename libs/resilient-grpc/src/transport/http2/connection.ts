import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { Clock } from '../../time/clock.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import { HpackDecoder } from '../hpack/hpack-decoder.js';
import { TABLE_UPDATE } from '../hpack/hpack-encoder.js';
import { HpackError } from '../hpack/hpack-error.js';
import { BdpEstimator } from './bdp-estimator.js';
import type {
  ConnectionEnd,
  ConnectionOwner,
  Goaway,
  SentPing,
  StreamFailure,
  StreamProgress,
  StreamReceiver,
} from './events.js';
import { FrameReader, type FrameHandler } from './frame-reader.js';
import { FrameWriter, type WriteBlock } from './frame-writer.js';
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  Flag,
  MAX_STREAM_ID,
  MAX_WINDOW,
  readUint32,
  Setting,
  violation,
} from './frames.js';
import { Http2Stream, type StreamHost } from './http2-stream.js';
import { StreamTable } from './stream-table.js';

const { COMPRESSION_ERROR, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR } =
  HTTP2_ERROR_CODES;

/** Bytes of unsent output above which messages wait in their streams. Headers and control frames do not wait. */
const MAX_OUTPUT_BYTES = 131_072;
/** Bytes of unsent output above which senders should wait. */
const HIGH_WATER_BYTES = 65_536;
/** Number of acknowledgements that may wait for the socket: a peer that sends more than it reads would fill the memory. */
const MAX_UNSENT_ACKNOWLEDGEMENTS = 1_000;
/** Number of frames without an effect that are tolerated at once, and that are forgotten per second. */
const MAX_USELESS_FRAMES = 10_000;
const FORGOTTEN_FRAMES_PER_SECOND = 1_000;
/** Number of frames without an effect that a peer may send on a stream before it learns that this side has reset the stream. */
const FRAMES_AFTER_RESET = 4;
/** Number of stream ids that are left when a connection asks to be replaced. */
const RESERVED_IDS = 2_048;
/** Bytes by which the windows of a connection's streams together may exceed the initial window. They bound the memory. */
const MAX_EXTRA_WINDOW = 16_777_216;
/** First half of the payload of this side's PINGs. */
const PING_MARK = 0x67727063;

/** Settings of this side, in bytes except for `maxConcurrentStreams`. */
export interface ConnectionSettings {
  /** Initial window of each stream, and window of the connection; 65,535 or more. */
  readonly streamWindow: number;
  readonly connectionWindow: number;
  /** Maximum size of a header list of the peer. */
  readonly maxHeaderListSize: number;
  /** Size of the decoder's table. */
  readonly headerTableSize: number;
}

/**
 * The client's side of an HTTP/2 connection (RFC 9113) without its socket and timers: `receive()` takes bytes, `takeOutput()` returns bytes,
 * and the owner and the receivers of the streams are told what happens.
 */
export class Http2Connection implements FrameHandler, StreamHost {
  /** Limits of the peer. */
  maxConcurrentStreams = MAX_STREAM_ID;
  maxHeaderListSize = Infinity;
  goaway: Goaway | undefined;
  isEnded = false;
  private readonly writer = new FrameWriter();
  private readonly reader: FrameReader;
  private readonly streams = new StreamTable<Http2Stream>();
  private nextId = 1;
  private writtenUpTo = 0;
  private acknowledgedUpTo = 0;
  private sendWindow = DEFAULT_WINDOW;
  private initialSendWindow = DEFAULT_WINDOW;
  private receiveWindow: number;
  private uncredited = 0;
  private readonly estimator: BdpEstimator;
  private extraWindow = 0;
  private hasSettings = false;
  private hasSentBlock = false;
  private isRunningOut = false;
  private isReceiving = false;
  private isAwake = false;
  /** True while the socket takes nothing more. */
  private isBlocked = false;
  private unsentAcknowledgements = 0;
  private uselessFrames = 0;
  private uselessSince: number;
  private pings: SentPing[] = [];
  private sentPings = 0;
  /** The stream of the DATA frame that is being received; `undefined` if the payload is dropped. */
  private dataStream: Http2Stream | undefined;
  /** List of the streams that have queued messages and window, the next one first. */
  private firstPumping: Http2Stream | undefined;
  private lastPumping: Http2Stream | undefined;
  /** Streams whose senders wait. */
  private draining: Http2Stream[] = [];
  /** Streams that wait because the peer's limit is reached, and the place of the first one. */
  private pending: (Http2Stream | undefined)[] = [];
  private firstPending = 0;
  /** Number of streams among them that were cancelled. */
  private cancelledPending = 0;

  constructor(
    private readonly owner: ConnectionOwner,
    private readonly settingsOfThisSide: ConnectionSettings,
    private readonly clock: Pick<Clock, 'now'>,
    firstId = 1,
  ) {
    const { streamWindow, connectionWindow, maxHeaderListSize, headerTableSize } = settingsOfThisSide;
    this.nextId = firstId;
    this.writtenUpTo = firstId - 2;
    this.reader = new FrameReader(this, new HpackDecoder(headerTableSize, maxHeaderListSize));
    this.writer.preface();
    this.writer.settings([
      Setting.HEADER_TABLE_SIZE,
      headerTableSize,
      Setting.ENABLE_PUSH,
      0,
      Setting.INITIAL_WINDOW_SIZE,
      streamWindow,
      Setting.MAX_HEADER_LIST_SIZE,
      maxHeaderListSize,
    ]);
    if (connectionWindow > DEFAULT_WINDOW) this.writer.windowUpdate(0, connectionWindow - DEFAULT_WINDOW);
    this.receiveWindow = connectionWindow;
    this.uselessSince = clock.now();
    this.estimator = new BdpEstimator(streamWindow);
  }

  // ── streams ──

  get openStreams(): number {
    return this.streams.size;
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
   */
  open(receiver: StreamReceiver, bound: number, write: WriteBlock): Http2Stream {
    const { streamWindow } = this.settingsOfThisSide;
    const stream = new Http2Stream(this, receiver, this.initialSendWindow, streamWindow);
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
    const first = this.hasSentBlock ? write : writeFirst(write);
    this.hasSentBlock = true;
    this.writer.headers(stream.id, false, bound + 1, DEFAULT_FRAME_SIZE, first);
    this.wake();
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
    if (this.firstPending === this.pending.length && this.firstPending > 0) this.takePending();
    if (this.nextId <= MAX_STREAM_ID) return;
    for (const stream of this.takePending()) this.fail(stream, 'goaway', NO_ERROR, 'the stream ids have run out');
  }

  /** Removes cancelled streams when they are the majority: the peer may allow no stream for a long time. */
  private pendingCancelled(): void {
    this.cancelledPending += 1;
    if (this.cancelledPending * 2 > this.pending.length - this.firstPending) this.pending = this.takePending();
  }

  /** Removes the streams that wait. */
  private takePending(): Http2Stream[] {
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

  /** Sends a PING. `acknowledged` is not called if the connection ends first. */
  ping(acknowledged: () => void): void {
    if (this.isEnded) return;
    this.sentPings = (this.sentPings + 1) >>> 0;
    this.pings.push({ number: this.sentPings, upTo: this.nextId - 2, acknowledged });
    this.writer.ping(0, PING_MARK, this.sentPings);
    this.wake();
  }

  /** Ends the connection with a GOAWAY. The open streams fail. */
  end(code: number = NO_ERROR, details = 'closed by this side'): void {
    if (this.isEnded) return;
    // The streams that are not sent yet fail as such.
    this.writer.drop();
    this.writer.goaway(0, code, '');
    this.finish({ code, details, isPeersFault: false });
    this.wake();
  }

  /** The socket has closed. */
  lost(details: string): void {
    if (this.isEnded) return;
    this.writer.drop();
    this.finish({ code: NO_ERROR, details, isPeersFault: false });
  }

  private finish(end: ConnectionEnd): void {
    this.isEnded = true;
    this.reader.stop();
    this.draining = [];
    this.pings = [];
    const { code, details } = end;
    const streams = [...this.streams.all(), ...this.takePending()];
    // Told first, so that the evidence about the connection is complete when its streams fail.
    this.owner.ended(end);
    for (const stream of streams) if (!stream.isClosed) this.fail(stream, 'lost', code, details);
  }

  // ── output ──

  /** True if `takeOutput()` would return bytes. */
  get hasOutput(): boolean {
    return this.writer.bytes > 0;
  }

  /** Returns the bytes to pass to the socket. The caller then calls `taken()`. */
  takeOutput(): Buffer[] {
    this.isAwake = false;
    // The end of the connection has discarded the headers that were not written.
    if (!this.isEnded) this.writtenUpTo = this.nextId - 2;
    return this.writer.take();
  }

  /**
   * @param isSent true if the socket does not need the memory of the bytes any more
   * @param isBlocked true if the socket takes nothing more; `drained()` must follow
   */
  taken(isSent: boolean, isBlocked: boolean): void {
    if (isSent) this.writer.sent();
    if (isBlocked) this.isBlocked = true;
    else if (!this.isBlocked) this.drained();
  }

  /** The socket takes more. */
  drained(): void {
    this.isBlocked = false;
    this.unsentAcknowledgements = 0;
    this.pump();
    this.notifyDrained();
  }

  private get mayWriteData(): boolean {
    return !this.isBlocked && this.writer.bytes < MAX_OUTPUT_BYTES;
  }

  private wake(): void {
    if (this.isReceiving || this.isAwake) return;
    this.isAwake = true;
    this.owner.wake();
  }

  private notifyDrained(): void {
    if (this.draining.length === 0) return;
    const { draining } = this;
    this.draining = [];
    for (const stream of draining) {
      if (stream.isClosed) continue;
      if (stream.isQueued || !this.mayWriteData) this.draining.push(stream);
      else {
        stream.awaitsDrain = false;
        stream.receiver.drained();
      }
    }
  }

  // ── of the streams ──

  /** True if `size` bytes can be written now in one frame. */
  maySend(stream: Http2Stream, size: number): boolean {
    return size <= stream.sendWindow && size <= this.sendWindow && size <= DEFAULT_FRAME_SIZE && this.mayWriteData;
  }

  /** True if the sender of `stream` may send more; if not, `drained()` follows. */
  isWritable(stream: Http2Stream): boolean {
    if (!stream.isQueued && !this.isBlocked && this.writer.bytes < HIGH_WATER_BYTES) return true;
    if (!stream.isClosed) this.awaitDrain(stream);
    return false;
  }

  awaitDrain(stream: Http2Stream): void {
    if (stream.awaitsDrain) return;
    stream.awaitsDrain = true;
    this.draining.push(stream);
  }

  writeData(
    stream: Http2Stream,
    bytes: Uint8Array,
    compressed: number,
    from: number,
    size: number,
    isEnd: boolean,
  ): void {
    stream.sendWindow -= size;
    this.sendWindow -= size;
    if (isEnd) stream.isLocalEnded = true;
    this.writer.data(stream.id, bytes, compressed, from, size, isEnd, DEFAULT_FRAME_SIZE);
    this.wake();
  }

  writeEnd(stream: Http2Stream): void {
    stream.isLocalEnded = true;
    this.writer.endData(stream.id);
    this.wake();
  }

  /** A message was queued. */
  queued(stream: Http2Stream): void {
    if (stream.sendWindow <= 0 || stream.id === 0) return;
    this.startPumping(stream);
    this.pump();
  }

  cancel(stream: Http2Stream, code: number): void {
    const { id, isRemoteEnded } = stream;
    this.close(stream);
    if (id === 0) this.pendingCancelled();
    if (id === 0 || isRemoteEnded) return;
    this.writer.reset(id, code);
    this.uselessFrames -= FRAMES_AFTER_RESET;
    this.startPending();
    this.wake();
  }

  credit(stream: Http2Stream, bytes: number): void {
    // A window that has grown is large because the delay is: the peer must get more of it before it has used up the rest.
    if (bytes * (stream.window > this.settingsOfThisSide.streamWindow ? 4 : 2) < stream.window) return;
    const extra = this.extraFor(stream, bytes);
    stream.uncredited -= bytes;
    stream.window += extra;
    stream.receiveWindow += bytes + extra;
    this.writer.windowUpdate(stream.id, bytes + extra);
    if (this.estimator.mayBegin) {
      this.estimator.begin(this.clock.now());
      this.ping(() => this.estimator.end(this.clock.now()));
    }
    this.wake();
  }

  /** Returns by how much to raise the window of a stream. A stream whose reader is slow needs no larger one. */
  private extraFor(stream: Http2Stream, credited: number): number {
    if (credited < stream.uncredited) return 0;
    const extra = Math.min(this.estimator.window - stream.window, MAX_EXTRA_WINDOW - this.extraWindow);
    if (extra <= 0) return 0;
    this.extraWindow += extra;
    return extra;
  }

  // ── flow control ──

  private startPumping(stream: Http2Stream): void {
    if (stream.isPumping) return;
    stream.isPumping = true;
    stream.previousPumping = this.lastPumping;
    if (this.lastPumping === undefined) this.firstPumping = stream;
    else this.lastPumping.nextPumping = stream;
    this.lastPumping = stream;
  }

  private stopPumping(stream: Http2Stream): void {
    if (!stream.isPumping) return;
    const { previousPumping: previous, nextPumping: next } = stream;
    if (previous === undefined) this.firstPumping = next;
    else previous.nextPumping = next;
    if (next === undefined) this.lastPumping = previous;
    else next.previousPumping = previous;
    stream.isPumping = false;
    stream.previousPumping = undefined;
    stream.nextPumping = undefined;
  }

  /** Writes queued messages, one frame per stream and turn, while the windows and the socket allow. */
  private pump(): void {
    while (this.firstPumping !== undefined && this.sendWindow > 0 && this.mayWriteData) {
      const stream = this.firstPumping;
      this.stopPumping(stream);
      stream.writeQueued(Math.min(stream.sendWindow, this.sendWindow, DEFAULT_FRAME_SIZE));
      if (stream.isQueued && stream.sendWindow > 0) this.startPumping(stream);
    }
  }

  // ── input ──

  /** Takes bytes of the peer, which are valid only during the call. */
  receive(bytes: Buffer, at = 0, end = bytes.length): void {
    if (this.isEnded) return;
    this.isReceiving = true;
    try {
      this.reader.read(bytes, at, end);
      this.notifyDrained();
    } catch (error) {
      if (error instanceof ConnectionError) this.endForViolation(error.code, error.message);
      else if (error instanceof HpackError) this.endForViolation(COMPRESSION_ERROR, error.message);
      else {
        this.endForViolation(INTERNAL_ERROR, 'an error in this process');
        throw error;
      }
    } finally {
      this.isReceiving = false;
      if (this.writer.bytes > 0) this.wake();
    }
  }

  private endForViolation(code: number, details: string): void {
    if (this.isEnded) return;
    this.writer.drop();
    this.writer.goaway(0, code, details);
    this.finish({ code, details, isPeersFault: code !== INTERNAL_ERROR });
  }

  dataBegins(id: number, length: number): void {
    this.dataStream = undefined;
    const stream = this.streams.get(id);
    if (stream === undefined) this.requireKnown(id, 'DATA');
    this.receiveWindow -= length;
    if (this.receiveWindow < 0) throw new ConnectionError(FLOW_CONTROL_ERROR, 'DATA beyond the connection window');
    // The windows of the streams bound the memory.
    this.uncredited += length;
    if (this.uncredited * 2 >= this.settingsOfThisSide.connectionWindow) {
      this.writer.windowUpdate(0, this.uncredited);
      this.receiveWindow += this.uncredited;
      this.uncredited = 0;
    }
    if (length === 0) this.useless('DATA');
    if (stream === undefined) return;
    stream.isAnswered = true;
    stream.receiveWindow -= length;
    stream.uncredited += length;
    this.estimator.add(length);
    if (stream.receiveWindow < 0) this.reject(stream, FLOW_CONTROL_ERROR, 'DATA beyond the stream window');
    else this.dataStream = stream;
  }

  data(bytes: Buffer, at: number, end: number): void {
    const stream = this.dataStream;
    if (stream !== undefined && !stream.isClosed) stream.receiver.data(bytes, at, end);
  }

  dataEnds(isEnd: boolean): void {
    const stream = this.dataStream;
    this.dataStream = undefined;
    if (stream === undefined || stream.isClosed) return;
    if (isEnd) this.remoteEnded(stream);
    stream.receiver.dataEnds(isEnd);
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
    if (block.malformed !== undefined) {
      this.reject(stream, PROTOCOL_ERROR, block.malformed);
      return;
    }
    if (isEnd) this.remoteEnded(stream);
    stream.receiver.headers(block, isEnd);
  }

  reset(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.requireKnown(id, 'RST_STREAM');
      this.useless('RST_STREAM');
      return;
    }
    stream.isAnswered = true;
    this.fail(stream, 'reset', code, `reset by the peer with code ${String(code)}`);
    this.startPending();
  }

  settings(bytes: Buffer, from: number, end: number): void {
    let window = this.initialSendWindow;
    for (let at = from; at < end; at += 6) {
      const value = readUint32(bytes, at + 2);
      switch ((bytes[at]! << 8) | bytes[at + 1]!) {
        case Setting.ENABLE_PUSH:
          if (value !== 0) violation('ENABLE_PUSH of a server');
          break;
        case Setting.MAX_CONCURRENT_STREAMS:
          this.maxConcurrentStreams = Math.min(value, MAX_STREAM_ID);
          break;
        case Setting.INITIAL_WINDOW_SIZE:
          if (value > MAX_WINDOW) throw new ConnectionError(FLOW_CONTROL_ERROR, 'INITIAL_WINDOW_SIZE');
          window = value;
          break;
        case Setting.MAX_FRAME_SIZE:
          // Larger frames would only delay other streams.
          if (value < DEFAULT_FRAME_SIZE || value > 0xff_ffff) violation('MAX_FRAME_SIZE');
          break;
        case Setting.MAX_HEADER_LIST_SIZE:
          this.maxHeaderListSize = value;
          break;
      }
    }
    // Once, because a frame may contain thousands of changes, and each one changes all streams.
    this.changeSendWindows(window - this.initialSendWindow);
    this.initialSendWindow = window;
    const isFirst = !this.hasSettings;
    this.hasSettings = true;
    if (!isFirst) this.useless('SETTINGS');
    this.countAcknowledgement();
    this.writer.settingsAcknowledgement();
    this.pump();
    this.startPending();
    this.owner.settingsReceived(isFirst);
  }

  private changeSendWindows(delta: number): void {
    if (delta === 0) return;
    for (const stream of this.streams.all()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > MAX_WINDOW) throw new ConnectionError(FLOW_CONTROL_ERROR, 'INITIAL_WINDOW_SIZE');
      if (!stream.isQueued) continue;
      if (stream.sendWindow > 0) this.startPumping(stream);
      else this.stopPumping(stream);
    }
  }

  settingsAcknowledged(): void {
    this.useless('SETTINGS acknowledgement');
  }

  pingReceived(high: number, low: number): void {
    this.countAcknowledgement();
    this.writer.ping(Flag.ACK, high, low);
  }

  pingAcknowledged(high: number, low: number): void {
    const [first] = this.pings;
    // An acknowledgement of something else proves nothing.
    if (first === undefined || high !== PING_MARK || low !== first.number) {
      this.useless('PING acknowledgement');
      return;
    }
    this.pings.shift();
    this.acknowledgedUpTo = Math.max(this.acknowledgedUpTo, first.upTo);
    first.acknowledged();
  }

  private countAcknowledgement(): void {
    this.unsentAcknowledgements += 1;
    if (this.unsentAcknowledgements > MAX_UNSENT_ACKNOWLEDGEMENTS)
      throw new ConnectionError(ENHANCE_YOUR_CALM, 'the peer sends more than it reads');
  }

  goawayReceived(lastId: number, code: number, debug: string): void {
    const { goaway: previous } = this;
    if (previous !== undefined && lastId > previous.lastId) violation('GOAWAY with a higher stream id');
    if (previous !== undefined) this.useless('GOAWAY');
    this.goaway = { lastId, code, debug };
    const details = `GOAWAY with code ${String(code)}${debug === '' ? '' : ` (${debug})`}`;
    const refused = [...this.streams.all().filter(({ id }) => id > lastId), ...this.takePending()];
    // Told first, so that the calls of refused streams find another connection.
    this.owner.goawayReceived(this.goaway);
    for (const stream of refused) if (!stream.isClosed) this.fail(stream, 'goaway', code, details);
  }

  windowUpdate(id: number, bytes: number): void {
    if (id === 0) {
      if (bytes === 0) violation('WINDOW_UPDATE of 0');
      this.sendWindow += bytes;
      if (this.sendWindow > MAX_WINDOW) throw new ConnectionError(FLOW_CONTROL_ERROR, 'WINDOW_UPDATE');
      this.pump();
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.requireKnown(id, 'WINDOW_UPDATE');
      this.useless('WINDOW_UPDATE');
      return;
    }
    stream.isAnswered = true;
    stream.sendWindow += bytes;
    if (bytes === 0) this.reject(stream, PROTOCOL_ERROR, 'WINDOW_UPDATE of 0');
    else if (stream.sendWindow > MAX_WINDOW) this.reject(stream, FLOW_CONTROL_ERROR, 'WINDOW_UPDATE');
    else if (stream.isQueued) this.queued(stream);
  }

  useless(frame: string): void {
    this.uselessFrames += 1;
    if (this.uselessFrames <= MAX_USELESS_FRAMES) return;
    const now = this.clock.now();
    const forgotten = ((now - this.uselessSince) / 1_000) * FORGOTTEN_FRAMES_PER_SECOND;
    this.uselessSince = now;
    this.uselessFrames = Math.max(1, this.uselessFrames - forgotten);
    if (this.uselessFrames > MAX_USELESS_FRAMES)
      throw new ConnectionError(ENHANCE_YOUR_CALM, `too many frames without an effect (${frame})`);
  }

  /** @throws ConnectionError if this side has not opened the stream */
  private requireKnown(id: number, frame: string): void {
    if (id % 2 === 0 || id >= this.nextId) violation(`${frame} on an idle stream`);
  }

  // ── ends of streams ──

  /** The peer sends nothing more. What this side still sends is useless: gRPC's responses end last. */
  private remoteEnded(stream: Http2Stream): void {
    stream.isRemoteEnded = true;
    const isLocalEnded = stream.isLocalEnded;
    this.close(stream, true);
    if (!isLocalEnded) this.writer.reset(stream.id, NO_ERROR);
    this.startPending();
  }

  /** Resets a stream because of the peer. */
  reject(stream: Http2Stream, code: number, details: string): void {
    if (stream.isClosed) return;
    this.writer.reset(stream.id, code);
    this.wake();
    this.fail(stream, 'protocol', code, details);
    this.startPending();
  }

  private fail(stream: Http2Stream, cause: StreamFailure['cause'], code: number, details: string): void {
    const { progress } = stream;
    this.close(stream);
    stream.receiver.failed({ cause, code, details, progress });
  }

  /** @param isReadable true if the receiver still reads what has arrived */
  private close(stream: Http2Stream, isReadable = false): void {
    stream.isLocalEnded = true;
    stream.isClosed = !isReadable;
    stream.clearQueue();
    stream.pending = undefined;
    this.stopPumping(stream);
    if (this.streams.delete(stream.id)) this.extraWindow -= stream.window - this.settingsOfThisSide.streamWindow;
  }
}

/** The first block of a connection starts with an update of the table size. */
function writeFirst(write: WriteBlock): WriteBlock {
  return (target, at) => {
    target[at] = TABLE_UPDATE;
    return write(target, at + 1);
  };
}
