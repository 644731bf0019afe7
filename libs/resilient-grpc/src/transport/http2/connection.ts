import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { Clock } from '../../time/clock.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import { HpackDecoder } from '../hpack/hpack-decoder.js';
import { TABLE_UPDATE } from '../hpack/hpack-encoder.js';
import { HpackError } from '../hpack/hpack-error.js';
import type { TransportProtection } from '../protection.js';
import { Allowance } from './allowance.js';
import { BdpEstimator } from './bdp-estimator.js';
import type { ConnectionEnd, ConnectionOwner, Goaway, SentPing, StreamFailure, StreamProgress } from './events.js';
import { FrameReader, type FrameHandler } from './frame-reader.js';
import { FrameWriter, type WriteBlock } from './frame-writer.js';
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  excess,
  Flag,
  MAX_STREAM_ID,
  MAX_WINDOW,
  readUint32,
  Setting,
  violation,
} from './frames.js';
import type { Http2Stream, SendObstacle, StreamHost } from './http2-stream.js';
import { StreamTable } from './stream-table.js';

const { COMPRESSION_ERROR, FLOW_CONTROL_ERROR, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR } = HTTP2_ERROR_CODES;

/** Bytes of unsent output above which messages wait in their streams. Headers and control frames do not wait. */
const MAX_OUTPUT_BYTES = 131_072;
/** Bytes of unsent output above which senders should wait. */
const HIGH_WATER_BYTES = 65_536;
/**
 * Bytes that wait for the window of a stream above which its sender should wait, too: with fewer, each message would cost a frame and a turn. A
 * peer that gives smaller windows, or opens many streams, has less prepared for it, but always a message: what it does not take costs time.
 */
const MAX_QUEUED_BYTES = 32_768;
const MAX_QUEUED_BYTES_OF_ALL = 2_097_152;
/** Number of acknowledgements that may wait for the socket: a peer that sends more than it reads would fill the memory. */
const MAX_UNSENT_ACKNOWLEDGEMENTS = 1_000;
/** Number of frames without an effect that are tolerated at once, and that are forgotten per second. */
const MAX_USELESS_FRAMES = 10_000;
const FORGOTTEN_FRAMES_PER_SECOND = 1_000;
/**
 * Number of them that a peer may send for each stream, such as a reset after its answer, or window updates and priorities, and for each DATA
 * frame of either side: window for what was sent may arrive after the end of its stream.
 */
const FRAMES_PER_STREAM = 4;
const FRAMES_PER_DATA = 1;
/** Number of settings in a frame, as in `node:http2`: more of them only cost time. */
const MAX_SETTINGS = 32;
const SETTING_BYTES = 6;
/** Number of streams whose windows can be changed in the time that other frames need. */
const STREAMS_PER_FRAME = 64;
/** Number of streams at the start of the list of ready ones that may have been told before they are removed. */
const MIN_TOLD = 64;
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
 * One side of an HTTP/2 connection (RFC 9113) without its socket and timers: `receive()` takes bytes, `takeOutput()` returns bytes, and the
 * owner and the receivers of the streams are told what happens. This is what both sides have in common: frames, flow control, and limits.
 */
export abstract class Http2Connection<S extends Http2Stream = Http2Stream> implements FrameHandler, StreamHost {
  /** Limits of the peer. */
  maxConcurrentStreams = MAX_STREAM_ID;
  maxHeaderListSize = Infinity;
  goaway: Goaway | undefined;
  isEnded = false;
  protected readonly writer = new FrameWriter();
  protected readonly reader: FrameReader;
  protected readonly streams = new StreamTable<S>();
  /** Id of the next stream. Clients open all streams, so it is odd. */
  nextId = 1;
  protected acknowledgedUpTo = 0;
  private sendWindow = DEFAULT_WINDOW;
  /** Time at which the window of the connection was last used up. */
  exhaustedAt = Infinity;
  protected initialSendWindow = DEFAULT_WINDOW;
  private receiveWindow: number;
  private uncredited = 0;
  private readonly estimator: BdpEstimator;
  private extraWindow = 0;
  private hasSettings = false;
  private hasSentBlock = false;
  private isReceiving = false;
  private isAwake = false;
  /** True while the socket takes nothing more. */
  protected isBlocked = false;
  private unsentAcknowledgements = 0;
  private readonly uselessFrames: Allowance;
  /** Number of frames without an effect that are tolerated besides. */
  private excused = 0;
  private pings: SentPing[] = [];
  private sentPings = 0;
  /** The stream of the DATA frame that is being received; `undefined` if the payload is dropped. */
  protected dataStream: S | undefined;
  /** List of the streams that have queued messages and window, the next one first. */
  private firstPumping: Http2Stream | undefined;
  private lastPumping: Http2Stream | undefined;
  /** Streams whose senders wait and whose queues are empty, and the place of the first one: those are told when output may be written. */
  private ready: (Http2Stream | undefined)[] = [];
  private firstReady = 0;
  constructor(
    protected readonly owner: ConnectionOwner,
    protected readonly settingsOfThisSide: ConnectionSettings,
    protected readonly clock: Pick<Clock, 'now'>,
    /** Bytes by which the windows of all streams together may exceed their initial windows. */
    private readonly maxExtraWindow: number,
    maxBlockBytes: number,
  ) {
    const { streamWindow, connectionWindow, maxHeaderListSize, headerTableSize } = settingsOfThisSide;
    this.reader = new FrameReader(this, new HpackDecoder(headerTableSize, maxHeaderListSize), maxBlockBytes);
    this.receiveWindow = connectionWindow;
    this.uselessFrames = new Allowance(MAX_USELESS_FRAMES, FORGOTTEN_FRAMES_PER_SECOND, clock);
    this.estimator = new BdpEstimator(streamWindow);
  }

  /** Writes the settings of this side, which come first. `settings` are identifiers and values that only this role has. */
  protected writeSettings(settings: readonly number[]): void {
    const { streamWindow, connectionWindow, maxHeaderListSize, headerTableSize } = this.settingsOfThisSide;
    this.writer.settings([
      Setting.HEADER_TABLE_SIZE,
      headerTableSize,
      ...settings,
      Setting.INITIAL_WINDOW_SIZE,
      streamWindow,
      Setting.MAX_HEADER_LIST_SIZE,
      maxHeaderListSize,
    ]);
    if (connectionWindow > DEFAULT_WINDOW) this.writer.windowUpdate(0, connectionWindow - DEFAULT_WINDOW);
  }

  // ── streams ──

  get openStreams(): number {
    return this.streams.size;
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
  end(protection: TransportProtection | undefined, code: number = NO_ERROR, details = 'closed by this side'): void {
    if (this.isEnded) return;
    this.writeGoaway(code, '');
    this.finish({ code, details, isPeersFault: false, protection });
    this.wake();
  }

  /** The socket has closed, or the peer is given up. */
  lost(details: string, protection: TransportProtection | undefined): void {
    if (this.isEnded) return;
    this.writer.drop();
    this.finish({ code: NO_ERROR, details, isPeersFault: false, protection });
  }

  /** Writes the last frame. */
  protected abstract writeGoaway(code: number, debug: string): void;

  protected finish(end: ConnectionEnd): void {
    this.isEnded = true;
    this.reader.stop();
    this.ready = [];
    this.firstReady = 0;
    this.pings = [];
    const { code, details, protection } = end;
    const streams = [...this.streams.all(), ...this.takeWaiting()];
    // Told first, so that the evidence about the connection is complete when its streams fail.
    this.owner.ended(end);
    for (const stream of streams) if (!stream.isClosed) this.fail(stream, 'lost', code, details, protection);
  }

  /** Removes the streams that are not in `streams`, because they are not sent. */
  protected takeWaiting(): readonly Http2Stream[] {
    return [];
  }

  // ── output ──

  /** Writes a header block. The first one of a connection starts with an update of the table size. */
  protected writeBlock(id: number, isEnd: boolean, bound: number, write: WriteBlock): void {
    const first = this.hasSentBlock ? write : writeFirst(write);
    this.hasSentBlock = true;
    this.writer.headers(id, isEnd, bound + 1, first);
    this.wake();
  }

  /** True if `takeOutput()` would return bytes. */
  get hasOutput(): boolean {
    return this.writer.bytes > 0;
  }

  /** Returns the bytes to pass to the socket. The caller then calls `taken()`. */
  takeOutput(): Buffer[] {
    this.isAwake = false;
    return this.writer.take();
  }

  /**
   * @param isSent true if the socket does not need the memory of the bytes any more
   * @param isBlocked true if the socket takes nothing more; `drained()` must follow
   */
  taken(isSent: boolean, isBlocked: boolean): void {
    if (isSent) this.sent();
    if (isBlocked) this.isBlocked = true;
    else if (!this.isBlocked) this.drained();
  }

  /** The socket does not need the memory of the output any more. */
  sent(): void {
    this.writer.sent();
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

  protected wake(): void {
    if (this.isReceiving || this.isAwake) return;
    this.isAwake = true;
    this.owner.wake();
  }

  private notifyDrained(): void {
    // Senders that wait again meanwhile are told next time.
    for (const end = this.ready.length; this.firstReady < end && this.mayWriteData;) {
      const stream = this.ready[this.firstReady];
      this.ready[this.firstReady++] = undefined;
      // With a new queue, it is told when that is empty.
      if (stream?.awaitsDrain !== true || stream.isClosed || stream.isQueued) continue;
      stream.awaitsDrain = false;
      stream.receiver.drained();
    }
    const { firstReady: told, ready } = this;
    if (told < ready.length && (told < MIN_TOLD || told * 2 < ready.length)) return;
    ready.splice(0, told);
    this.firstReady = 0;
  }

  // ── of the streams ──

  /** True if `size` bytes can be written now in one frame. */
  maySend(stream: Http2Stream, size: number): boolean {
    return size <= stream.sendWindow && size <= this.sendWindow && size <= DEFAULT_FRAME_SIZE && this.mayWriteData;
  }

  /** True if the sender of `stream` may send more; if not, `drained()` follows. */
  isWritable(stream: Http2Stream): boolean {
    const isFull = this.isBlocked || this.writer.bytes >= HIGH_WATER_BYTES;
    if (!isFull && (!stream.isQueued || stream.queuedBytes < this.maxQueuedBytes)) return true;
    if (!stream.isClosed) this.awaitDrain(stream);
    return false;
  }

  /** Bytes that may wait for the window of a stream before its sender should wait, too. */
  protected get maxQueuedBytes(): number {
    const share = MAX_QUEUED_BYTES_OF_ALL / this.openStreams;
    return Math.max(1, Math.min(MAX_QUEUED_BYTES, this.initialSendWindow, share));
  }

  awaitDrain(stream: Http2Stream): void {
    if (stream.awaitsDrain) return;
    stream.awaitsDrain = true;
    if (!stream.isQueued) this.ready.push(stream);
  }

  obstacleOf(stream: Http2Stream): SendObstacle | undefined {
    if (stream.sendWindow <= 0) return 'stream-window';
    if (this.sendWindow <= 0) return 'connection-window';
    return this.mayWriteData ? undefined : 'socket';
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
    if (this.sendWindow <= 0) this.exhaustedAt = this.clock.now();
    this.excused += FRAMES_PER_DATA;
    if (isEnd) stream.isLocalEnded = true;
    this.writer.data(stream.id, bytes, compressed, from, size, isEnd);
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

  abstract cancel(stream: S, code: number): void;
  abstract progressOf(id: number): StreamProgress;

  credit(stream: Http2Stream, heldBytes: number): void {
    if (stream.isRemoteEnded) return;
    const bytes = stream.uncredited - heldBytes;
    // A window that has grown is large because the delay is: the peer must get more of it before it has used up the rest.
    if (bytes * (stream.window > this.settingsOfThisSide.streamWindow ? 4 : 2) < stream.window) return;
    // A stream whose reader is slow needs no larger window.
    const extra = bytes < stream.uncredited ? 0 : this.widen(stream, this.estimator.window);
    stream.uncredited -= bytes;
    stream.receiveWindow += bytes;
    this.writer.windowUpdate(stream.id, bytes + extra);
    if (this.estimator.mayBegin) {
      this.estimator.begin(this.clock.now());
      this.ping(() => this.estimator.end(this.clock.now()));
    }
    this.wake();
  }

  /** Raises the window of a stream to `window`, as far as the windows of all streams may grow. Returns by how much. */
  protected widen(stream: Http2Stream, window: number): number {
    const extra = Math.max(0, Math.min(window - stream.window, this.maxExtraWindow - this.extraWindow));
    this.extraWindow += extra;
    stream.window += extra;
    stream.receiveWindow += extra;
    return extra;
  }

  // ── flow control ──

  protected startPumping(stream: Http2Stream): void {
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
  protected pump(): void {
    // `receive()` does it once for all the window that arrives together.
    if (this.isReceiving) return;
    while (this.firstPumping !== undefined && this.sendWindow > 0 && this.mayWriteData) {
      const stream = this.firstPumping;
      this.stopPumping(stream);
      stream.writeQueued(Math.min(stream.sendWindow, this.sendWindow, DEFAULT_FRAME_SIZE));
      if (!stream.isQueued) {
        if (stream.awaitsDrain) this.ready.push(stream);
      } else if (stream.sendWindow > 0) this.startPumping(stream);
    }
  }

  // ── input ──

  /** Takes bytes of the peer, which are valid only during the call. Returns the end of what was read. */
  receive(bytes: Buffer, at = 0, end = bytes.length): number {
    if (this.isEnded) return end;
    this.isReceiving = true;
    let next = end;
    try {
      next = this.reader.read(bytes, at, end);
      this.isReceiving = false;
      this.pump();
      this.notifyDrained();
    } catch (error) {
      if (error instanceof ConnectionError) this.endForViolation(error.protection, error.code, error.message);
      else if (error instanceof HpackError)
        this.endForViolation('protocol-violation', COMPRESSION_ERROR, error.message);
      else {
        this.endForViolation(undefined, INTERNAL_ERROR, 'an error in this process');
        throw error;
      }
    } finally {
      this.isReceiving = false;
      if (this.writer.bytes > 0) this.wake();
    }
    return next;
  }

  /** Ends the connection because of the peer, with a GOAWAY that says why; `protection` is `undefined` for an error of this side. */
  endForViolation(protection: TransportProtection | undefined, code: number, details: string): void {
    if (this.isEnded) return;
    this.writeGoaway(code, details);
    this.finish({ code, details, isPeersFault: protection !== undefined, protection });
  }

  dataBegins(id: number, length: number): void {
    this.dataStream = undefined;
    const stream = this.streams.get(id);
    if (stream === undefined) this.requireKnown(id, 'DATA');
    this.receiveWindow -= length;
    if (this.receiveWindow < 0) violation('DATA beyond the connection window', FLOW_CONTROL_ERROR);
    this.dataReceived(stream, length);
    if (stream === undefined) return;
    stream.isAnswered = true;
    stream.receiveWindow -= length;
    stream.uncredited += length;
    stream.receivedBytes += length;
    this.estimator.add(length);
    if (stream.receiveWindow < 0) this.reject(stream, FLOW_CONTROL_ERROR, 'DATA beyond the stream window');
    else this.dataStream = stream;
  }

  /** Gives the peer new window for the connection, or has it wait until a message is read. */
  protected abstract dataReceived(stream: S | undefined, length: number): void;

  protected creditConnection(bytes: number): void {
    this.uncredited += bytes;
    if (this.uncredited * 2 < this.settingsOfThisSide.connectionWindow) return;
    this.writer.windowUpdate(0, this.uncredited);
    this.receiveWindow += this.uncredited;
    this.uncredited = 0;
    this.wake();
  }

  data(bytes: Buffer, at: number, end: number): void {
    const stream = this.dataStream;
    if (stream === undefined || stream.isClosed) return;
    this.excused += FRAMES_PER_DATA;
    stream.receiver.data(bytes, at, end);
  }

  dataEnds(isEnd: boolean): void {
    const stream = this.dataStream;
    this.dataStream = undefined;
    if (stream === undefined || stream.isClosed) return;
    if (isEnd) this.remoteEnded(stream);
    stream.receiver.dataEnds(isEnd);
  }

  readsHeaders(id: number): boolean {
    return this.streams.get(id) !== undefined;
  }

  abstract headers(id: number, isEnd: boolean, block: HeaderBlock): void;

  reset(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.requireKnown(id, 'RST_STREAM');
      this.useless('RST_STREAM');
      return;
    }
    stream.isAnswered = true;
    this.fail(stream, 'reset', code, `reset by the peer with code ${String(code)}`, undefined);
    this.placeFreed();
  }

  /** Maximum of the peer's ENABLE_PUSH. */
  protected abstract readonly maxEnablePush: number;

  settings(bytes: Buffer, from: number, end: number): void {
    if (end - from > MAX_SETTINGS * SETTING_BYTES)
      excess('frames-without-effect', `more than ${String(MAX_SETTINGS)} settings in a frame`);
    let window = this.initialSendWindow;
    for (let at = from; at < end; at += SETTING_BYTES) {
      const value = readUint32(bytes, at + 2);
      switch ((bytes[at]! << 8) | bytes[at + 1]!) {
        case Setting.ENABLE_PUSH:
          if (value > this.maxEnablePush) violation(`ENABLE_PUSH of ${String(value)}`);
          break;
        case Setting.MAX_CONCURRENT_STREAMS:
          this.maxConcurrentStreams = Math.min(value, MAX_STREAM_ID);
          break;
        case Setting.INITIAL_WINDOW_SIZE:
          if (value > MAX_WINDOW) violation('INITIAL_WINDOW_SIZE', FLOW_CONTROL_ERROR);
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
    // Once, because a frame may contain several changes, and each one changes all streams.
    this.changeSendWindows(window - this.initialSendWindow);
    this.initialSendWindow = window;
    const isFirst = !this.hasSettings;
    this.hasSettings = true;
    if (!isFirst) this.useless('SETTINGS', costOf(this.streams));
    this.countAcknowledgement();
    this.writer.settingsAcknowledgement();
    this.placeFreed();
    this.owner.settingsReceived(isFirst);
  }

  private changeSendWindows(delta: number): void {
    if (delta === 0 || this.streams.size === 0) return;
    for (const stream of this.streams.unordered()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > MAX_WINDOW) violation('INITIAL_WINDOW_SIZE', FLOW_CONTROL_ERROR);
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

  protected countAcknowledgement(): void {
    this.unsentAcknowledgements += 1;
    if (this.unsentAcknowledgements > MAX_UNSENT_ACKNOWLEDGEMENTS)
      excess('unsent-acknowledgements', 'the peer sends more than it reads');
  }

  goawayReceived(lastId: number, code: number, debug: string): void {
    const { goaway: previous } = this;
    if (previous !== undefined && lastId > previous.lastId) violation('GOAWAY with a higher stream id');
    if (previous !== undefined) this.useless('GOAWAY', costOf(this.streams));
    this.goaway = { lastId, code, debug };
    this.owner.goawayReceived(this.goaway);
  }

  windowUpdate(id: number, bytes: number): void {
    if (id === 0) {
      if (bytes === 0) violation('WINDOW_UPDATE of 0');
      this.sendWindow += bytes;
      if (this.sendWindow > MAX_WINDOW) violation('WINDOW_UPDATE', FLOW_CONTROL_ERROR);
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
    else if (stream.isQueued && stream.sendWindow > 0) this.startPumping(stream);
  }

  useless(frame: string, count = 1): void {
    this.uselessFrames.extend(this.excused);
    this.excused = 0;
    if (!this.uselessFrames.take(count))
      excess('frames-without-effect', `too many frames without an effect (${frame})`);
  }

  /** @throws ConnectionError if a frame may not arrive on this stream, which is not open */
  protected requireKnown(id: number, frame: string): void {
    if (id % 2 === 0 || id >= this.nextId) violation(`${frame} on an idle stream`);
  }

  // ── ends of streams ──

  /** The peer sends nothing more on a stream. */
  protected abstract remoteEnded(stream: S): void;

  /** A stream has ended, and its receiver knows. */
  protected abstract placeFreed(): void;

  /** Resets a stream whose peer has violated the protocol. */
  reject(stream: S, code: number, details: string): void {
    this.endStream('protocol-violation', stream, code, details);
  }

  /** Resets a stream because of the peer. */
  protected endStream(protection: TransportProtection, stream: S, code: number, details: string): void {
    if (stream.isClosed) return;
    this.writer.reset(stream.id, code);
    this.wake();
    this.fail(stream, 'protocol', code, details, protection);
    this.placeFreed();
  }

  protected fail(
    stream: Http2Stream,
    cause: StreamFailure['cause'],
    code: number,
    details: string,
    protection: TransportProtection | undefined,
  ): void {
    const { progress } = stream;
    this.close(stream);
    stream.receiver.failed({ cause, code, details, progress, protection });
  }

  /** @param isReadable true if the receiver still reads what has arrived */
  protected close(stream: Http2Stream, isReadable = false): void {
    stream.isLocalEnded = true;
    stream.isClosed = !isReadable;
    stream.clearQueue();
    stream.pending = undefined;
    this.stopPumping(stream);
    if (!this.streams.delete(stream.id)) return;
    this.excused += FRAMES_PER_STREAM;
    const { streamWindow } = this.settingsOfThisSide;
    this.extraWindow -= stream.window - streamWindow;
    if (stream.kind !== undefined && stream.receivedBytes > streamWindow) stream.kind.window = stream.window;
  }
}

/** Number of frames that cost as much as one that concerns all streams. */
function costOf({ size }: { readonly size: number }): number {
  return 1 + Math.floor(size / STREAMS_PER_FRAME);
}

/** The first block of a connection starts with an update of the table size. */
function writeFirst(write: WriteBlock): WriteBlock {
  return (target, at) => {
    target[at] = TABLE_UPDATE;
    return write(target, at + 1);
  };
}
