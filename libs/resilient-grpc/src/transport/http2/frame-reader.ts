import type { HeaderBlock } from '../hpack/header-block.js';
import type { HpackDecoder } from '../hpack/hpack-decoder.js';
import { DEFAULT_FRAME_SIZE, excess, Flag, FrameType, HEAD_BYTES, readUint32, violation, wrongSize } from './frames.js';

/** Receives the frames of a connection. A `ConnectionError` that it throws ends the reading. */
export interface FrameHandler {
  /**
   * A DATA frame begins.
   *
   * @param length its length including its padding, which counts for flow control
   */
  dataBegins(id: number, length: number): void;
  /** A piece of the payload, `bytes[at..end)`, which is valid only during the call. */
  data(bytes: Buffer, at: number, end: number): void;
  /** The DATA frame is complete. */
  dataEnds(isEnd: boolean): void;
  /** False if the fields of a header block for this stream are not needed. */
  readsHeaders(id: number): boolean;
  headers(id: number, isEnd: boolean, block: HeaderBlock): void;
  reset(id: number, code: number): void;
  /** Settings: six bytes each in `bytes[at..end)`. */
  settings(bytes: Buffer, at: number, end: number): void;
  settingsAcknowledged(): void;
  pingReceived(high: number, low: number): void;
  pingAcknowledged(high: number, low: number): void;
  goawayReceived(lastId: number, code: number, debug: string): void;
  windowUpdate(id: number, bytes: number): void;
  /** A frame without an effect, or one that peers send rarely. `frame` describes it. */
  useless(frame: string): void;
}

/** Number of frames of a small header block, and least mean size of the frames of a larger one, which an attacker splits into many. */
const MAX_BLOCK_FRAMES = 8;
const MIN_MEAN_FRAME_BYTES = 4_096;
const MAX_DEBUG_BYTES = 256;
const NONE = Buffer.alloc(0);
/** Memory of the latest large header block, for the next one of any connection: memory outside of V8's heap makes it collect more often. */
let spare = NONE;
const MIN_SPARE_BYTES = 4_096;
const MAX_SPARE_BYTES = 262_144;

/** Splits the bytes of a connection into frames, and checks all that does not depend on the state of a stream. */
export class FrameReader {
  /** Number of frames so far. */
  frames = 0;
  private isStopped = false;
  private hasSettings = false;
  /** Remaining bytes of the DATA frame that is being read, and whether it ends its stream. */
  private dataLeft = 0;
  private dataIsEnd = false;
  /** An incomplete frame, or its incomplete head, the number of bytes that have arrived, and that of the whole. */
  private partial: Buffer | undefined;
  private partialLength = 0;
  private partialSize = 0;
  /** Stream of a header block that CONTINUATION frames continue; 0 if there is none. */
  private blockId = 0;
  private blockIsEnd = false;
  private blockFrame = 0;
  /** The incomplete header block, the number of its bytes that have arrived, and that of their frames. */
  private block = NONE;
  private blockLength = 0;
  private blockFrames = 0;

  constructor(
    private readonly handler: FrameHandler,
    private readonly decoder: HpackDecoder,
    /** Maximum size of a header block. A larger one ends the connection, and one above the limit of header lists only its stream. */
    private readonly maxBlockBytes: number,
  ) {}

  /** Reads no further frames until `resume()`, not even those of the current piece of bytes. */
  stop(): void {
    this.isStopped = true;
  }

  resume(): void {
    this.isStopped = false;
  }

  /** Memory of the incomplete header block. */
  get blockBytes(): number {
    return this.block.length;
  }

  /** Number of the frame or header block that the peer has begun and not completed; not of DATA, which may be of any length. */
  get incompleteFrame(): number | undefined {
    if (this.blockId !== 0) return this.blockFrame;
    return this.partial === undefined ? undefined : this.frames + 1;
  }

  /**
   * Takes bytes of the peer, which are valid only during the call. Returns the end of what was read: `end`, unless `stop()` was called.
   *
   * @throws ConnectionError, HpackError if the peer has violated the protocol
   */
  read(bytes: Buffer, from: number, end: number): number {
    let at = from;
    while (at < end && !this.isStopped) {
      if (this.dataLeft > 0) at = this.readData(bytes, at, end);
      else if (this.partial !== undefined) at = this.completePartial(this.partial, bytes, at, end);
      else if (end - at < HEAD_BYTES) at = this.keepPartial(bytes, at, end, HEAD_BYTES);
      else {
        const length = this.checkHead(bytes, at);
        if (isUnpaddedData(bytes, at)) {
          this.beginData(readId(bytes, at), bytes[at + 4]!, length, 0);
          at += HEAD_BYTES;
        } else if (end - at - HEAD_BYTES < length) at = this.keepPartial(bytes, at, end, HEAD_BYTES + length);
        else {
          this.readFrame(bytes, at, length);
          at += HEAD_BYTES + length;
        }
      }
    }
    return at;
  }

  /** Returns the length of the payload. */
  private checkHead(bytes: Buffer, at: number): number {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    const type = bytes[at + 3]!;
    if (length > DEFAULT_FRAME_SIZE) {
      const isHttp1 = !this.hasSettings && bytes.toString('latin1', at, at + 5) === 'HTTP/';
      wrongSize(isHttp1 ? 'the peer answered with HTTP/1' : `a frame of ${String(length)} bytes`);
    }
    if (!this.hasSettings && type !== FrameType.SETTINGS) violation('the first frame is not SETTINGS');
    if (this.blockId !== 0 && (type !== FrameType.CONTINUATION || readId(bytes, at) !== this.blockId))
      violation('a frame inside a header block');
    return length;
  }

  /** Keeps a part of a frame of `size` bytes, of which the peer may never send the rest. */
  private keepPartial(bytes: Buffer, at: number, end: number, size: number): number {
    this.partial = Buffer.allocUnsafe(Math.min(size, 2 * (end - at)));
    this.partialLength = bytes.copy(this.partial, 0, at, end);
    this.partialSize = size;
    return end;
  }

  private completePartial(begun: Buffer, bytes: Buffer, at: number, end: number): number {
    const { partialLength: before, partialSize: size } = this;
    const next = Math.min(end, at + size - before);
    const arrived = before + next - at;
    let partial = begun;
    if (arrived > begun.length) {
      partial = Buffer.allocUnsafe(Math.min(size, 2 * arrived));
      begun.copy(partial, 0, 0, before);
    }
    bytes.copy(partial, before, at, next);
    this.partial = arrived < size ? partial : undefined;
    this.partialLength = arrived;
    if (arrived < size) return next;
    if (size > HEAD_BYTES) {
      this.readFrame(partial, 0, size - HEAD_BYTES);
      return next;
    }
    const length = this.checkHead(partial, 0);
    if (isUnpaddedData(partial, 0)) this.beginData(readId(partial, 0), partial[4]!, length, 0);
    else if (length > 0) this.keepPartial(partial, 0, HEAD_BYTES, HEAD_BYTES + length);
    else this.readFrame(partial, 0, 0);
    return next;
  }

  private beginData(id: number, flags: number, length: number, padding: number): void {
    this.frames += 1;
    if (id === 0) violation('DATA on stream 0');
    this.dataIsEnd = (flags & Flag.END_STREAM) !== 0;
    this.dataLeft = length - padding;
    this.handler.dataBegins(id, length);
    if (this.dataLeft > 0) return;
    if (!this.dataIsEnd) this.handler.useless('DATA');
    this.handler.dataEnds(this.dataIsEnd);
  }

  private readData(bytes: Buffer, at: number, end: number): number {
    const next = Math.min(end, at + this.dataLeft);
    this.dataLeft -= next - at;
    this.handler.data(bytes, at, next);
    if (this.dataLeft === 0) this.handler.dataEnds(this.dataIsEnd);
    return next;
  }

  /** Reads a complete frame other than DATA without padding. */
  private readFrame(bytes: Buffer, head: number, length: number): void {
    this.frames += 1;
    const type = bytes[head + 3]!;
    const flags = bytes[head + 4]!;
    const id = readId(bytes, head);
    const at = head + HEAD_BYTES;
    switch (type) {
      case FrameType.DATA:
        this.readPaddedData(id, flags, bytes, at, length);
        return;
      case FrameType.HEADERS:
        this.readHeaders(id, flags, bytes, at, length);
        return;
      case FrameType.CONTINUATION:
        this.readContinuation(flags, bytes, at, length);
        return;
      case FrameType.SETTINGS:
        this.readSettings(id, flags, bytes, at, length);
        return;
      case FrameType.PRIORITY:
        if (id === 0) violation('PRIORITY on stream 0');
        if (length !== 5) wrongSize('PRIORITY');
        if (readStreamId(bytes, at) === id) violation('a stream that depends on itself');
        this.handler.useless('PRIORITY');
        return;
      case FrameType.RST_STREAM:
        if (id === 0) violation('RST_STREAM on stream 0');
        if (length !== 4) wrongSize('RST_STREAM');
        this.handler.reset(id, readUint32(bytes, at));
        return;
      case FrameType.PUSH_PROMISE:
        violation('PUSH_PROMISE, which this side does not allow');
        break;
      case FrameType.PING:
        if (id !== 0) violation('PING on a stream');
        if (length !== 8) wrongSize('PING');
        if (flags & Flag.ACK) this.handler.pingAcknowledged(readUint32(bytes, at), readUint32(bytes, at + 4));
        else this.handler.pingReceived(readUint32(bytes, at), readUint32(bytes, at + 4));
        return;
      case FrameType.GOAWAY:
        if (id !== 0) violation('GOAWAY on a stream');
        if (length < 8) wrongSize('GOAWAY');
        this.handler.goawayReceived(
          readUint32(bytes, at) & 0x7fff_ffff,
          readUint32(bytes, at + 4),
          bytes.toString('utf8', at + 8, at + Math.min(length, 8 + MAX_DEBUG_BYTES)),
        );
        return;
      case FrameType.WINDOW_UPDATE:
        if (length !== 4) wrongSize('WINDOW_UPDATE');
        this.handler.windowUpdate(id, readUint32(bytes, at) & 0x7fff_ffff);
        return;
      default:
        // RFC 9113, section 5.5: unknown frames are ignored.
        this.handler.useless(`type ${String(type)}`);
    }
  }

  private readPaddedData(id: number, flags: number, bytes: Buffer, at: number, length: number): void {
    if (length < 1) wrongSize('padded DATA');
    const padding = bytes[at]! + 1;
    if (padding > length) violation('padding beyond the frame');
    this.beginData(id, flags, length, padding);
    if (this.dataLeft > 0) this.readData(bytes, at + 1, at + 1 + this.dataLeft);
  }

  private readHeaders(id: number, flags: number, bytes: Buffer, from: number, length: number): void {
    if (id === 0) violation('HEADERS on stream 0');
    let at = from;
    let end = from + length;
    if (flags & Flag.PADDED) {
      if (length < 1) wrongSize('padded HEADERS');
      end -= bytes[at]!;
      at += 1;
    }
    if (flags & Flag.PRIORITY) at += 5;
    if (at > end) violation('padding or priority beyond the frame');
    if (flags & Flag.PRIORITY && readStreamId(bytes, at - 5) === id) violation('a stream that depends on itself');
    const isEnd = (flags & Flag.END_STREAM) !== 0;
    if (flags & Flag.END_HEADERS) {
      this.handler.headers(id, isEnd, this.decoder.decode(bytes, at, end, this.handler.readsHeaders(id)));
      return;
    }
    this.blockId = id;
    this.blockIsEnd = isEnd;
    this.blockFrame = this.frames;
    this.keepFragment(bytes, at, end);
  }

  private readContinuation(flags: number, bytes: Buffer, at: number, length: number): void {
    const id = this.blockId;
    if (id === 0) violation('CONTINUATION without HEADERS');
    this.keepFragment(bytes, at, at + length);
    const { blockLength, blockFrames } = this;
    // Many small frames are an attack (CVE-2024-27983): they cost more than their bytes show.
    if (blockLength > this.maxBlockBytes || blockFrames > MAX_BLOCK_FRAMES + blockLength / MIN_MEAN_FRAME_BYTES) {
      excess('header-block', `a header block of ${String(blockLength)} bytes in ${String(blockFrames)} frames`);
    }
    if (!(flags & Flag.END_HEADERS)) return;
    const { block } = this;
    this.blockId = 0;
    this.block = NONE;
    this.blockLength = 0;
    this.blockFrames = 0;
    const decoded = this.decoder.decode(block, 0, blockLength, this.handler.readsHeaders(id));
    if (block.length > spare.length && block.length <= MAX_SPARE_BYTES) spare = block;
    this.handler.headers(id, this.blockIsEnd, decoded);
  }

  /** Adds `bytes[at..end)` to the header block. */
  private keepFragment(bytes: Buffer, at: number, end: number): void {
    const { block, blockLength } = this;
    const length = blockLength + end - at;
    if (length > block.length) {
      if (length > MIN_SPARE_BYTES && length <= spare.length) {
        this.block = spare;
        spare = NONE;
      } else this.block = Buffer.allocUnsafe(Math.max(length, 2 * block.length));
      block.copy(this.block, 0, 0, blockLength);
    }
    bytes.copy(this.block, blockLength, at, end);
    this.blockLength = length;
    this.blockFrames += 1;
  }

  private readSettings(id: number, flags: number, bytes: Buffer, at: number, length: number): void {
    if (id !== 0) violation('SETTINGS on a stream');
    if (flags & Flag.ACK) {
      if (length !== 0) wrongSize('SETTINGS acknowledgement');
      if (!this.hasSettings) violation('the first frame is not SETTINGS');
      this.handler.settingsAcknowledged();
      return;
    }
    if (length % 6 !== 0) wrongSize('SETTINGS');
    this.hasSettings = true;
    this.handler.settings(bytes, at, at + length);
  }
}

function isUnpaddedData(bytes: Uint8Array, head: number): boolean {
  return bytes[head + 3] === FrameType.DATA && !(bytes[head + 4]! & Flag.PADDED);
}

function readId(bytes: Uint8Array, head: number): number {
  return readStreamId(bytes, head + 5);
}

function readStreamId(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at) & 0x7fff_ffff;
}
