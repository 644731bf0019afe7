import { DEFAULT_FRAME_SIZE, Flag, FrameType, HEAD_BYTES, writeUint32 } from './frames.js';

/** Size of the buffers in which frames are collected; two frames of the default size and some heads fit four times. */
const SLAB_BYTES = 65_536 + 1_024;
/** Slabs that no writer uses: a connection without output has none. */
const SPARE_SLABS: Buffer[] = [];
const MAX_SPARE_SLABS = 64;
const EMPTY = Buffer.alloc(0);
/** Bytes of the prefix of a gRPC message: its compressed flag and its length. */
const PREFIX_BYTES = 5;
const MAX_DEBUG_BYTES = 256;

/** Writes the fields of a header block at `target[at]` and returns the end. */
export type WriteBlock = (target: Buffer, at: number) => number;

/**
 * Collects the frames to send. Frames are written into buffers one after the other, so that many small frames leave in one piece, and
 * messages of one stream that follow each other share a DATA frame.
 */
export class FrameWriter {
  private slab: Buffer = EMPTY;
  /** The first byte of the slab that is not in `chunks`, and the end of what is written. */
  private start = 0;
  private end = 0;
  private chunks: Buffer[] = [];
  private chunkBytes = 0;
  /** The DATA frame at the end of the output, which further messages of its stream extend: its stream, its place, and its length. */
  private openStream = 0;
  private openAt = 0;
  private openLength = 0;

  /** Number of bytes that `take()` would return. */
  get bytes(): number {
    return this.chunkBytes + this.end - this.start;
  }

  /** Returns the output so far. The caller then calls `sent()`. */
  take(): Buffer[] {
    this.openStream = 0;
    this.seal();
    const { chunks } = this;
    this.chunks = [];
    this.chunkBytes = 0;
    return chunks;
  }

  /** Called when nobody needs the memory of the output any more, so that it can be used again. */
  sent(): void {
    const { slab } = this;
    if (this.start !== this.end || this.chunkBytes > 0) return;
    if (slab.length === SLAB_BYTES && SPARE_SLABS.length < MAX_SPARE_SLABS) SPARE_SLABS.push(slab);
    this.slab = EMPTY;
    this.start = 0;
    this.end = 0;
  }

  /** Drops what `take()` has not returned. */
  drop(): void {
    this.openStream = 0;
    this.start = this.end;
    this.chunks = [];
    this.chunkBytes = 0;
  }

  /** Writes bytes that are no frame. */
  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.slab.set(bytes, this.end);
    this.end += bytes.length;
  }

  /** @param settings identifiers and values, in turn */
  settings(settings: readonly number[]): void {
    this.head(settings.length * 3, FrameType.SETTINGS, 0, 0);
    for (let i = 0; i + 1 < settings.length; i += 2) {
      const at = this.end;
      this.slab[at] = settings[i]! >>> 8;
      this.slab[at + 1] = settings[i]!;
      writeUint32(this.slab, at + 2, settings[i + 1]!);
      this.end = at + 6;
    }
  }

  settingsAcknowledgement(): void {
    this.head(0, FrameType.SETTINGS, Flag.ACK, 0);
  }

  /** @param payload eight bytes, as two numbers */
  ping(flags: number, high: number, low: number): void {
    this.head(8, FrameType.PING, flags, 0);
    this.uint32(high);
    this.uint32(low);
  }

  goaway(lastId: number, code: number, debug: string): void {
    const bytes = Buffer.from(debug, 'utf8').subarray(0, MAX_DEBUG_BYTES);
    this.head(8 + bytes.length, FrameType.GOAWAY, 0, 0);
    this.uint32(lastId);
    this.uint32(code);
    this.slab.set(bytes, this.end);
    this.end += bytes.length;
  }

  reset(id: number, code: number): void {
    this.head(4, FrameType.RST_STREAM, 0, id);
    this.uint32(code);
  }

  windowUpdate(id: number, bytes: number): void {
    this.head(4, FrameType.WINDOW_UPDATE, 0, id);
    this.uint32(bytes);
  }

  /**
   * Writes a header block.
   *
   * @param bound upper bound of the size of the block
   */
  headers(id: number, isEnd: boolean, bound: number, write: WriteBlock): void {
    const flags = isEnd ? Flag.END_STREAM : 0;
    if (bound > DEFAULT_FRAME_SIZE) {
      this.largeHeaders(id, flags, bound, write);
      return;
    }
    this.reserve(HEAD_BYTES + bound);
    this.head(0, FrameType.HEADERS, flags | Flag.END_HEADERS, id);
    const from = this.end;
    this.end = write(this.slab, from);
    writeLength(this.slab, from - HEAD_BYTES, this.end - from);
  }

  /** Ends the messages of a stream. */
  endData(id: number): void {
    if (this.openStream === id) {
      this.slab[this.openAt + 4] = Flag.END_STREAM;
      this.openStream = 0;
    } else this.head(0, FrameType.DATA, Flag.END_STREAM, id);
  }

  /**
   * Writes `size` bytes of a length-prefixed message from `offset`, which is negative within the prefix. `size` fits in one frame.
   *
   * @param compressed the compressed flag of the message, 0 or 1
   */
  data(id: number, message: Uint8Array, compressed: number, offset: number, size: number, isEnd: boolean): void {
    const isOpen = this.openStream === id && this.openLength + size <= DEFAULT_FRAME_SIZE;
    if (isOpen && this.slab.length - this.end >= size) {
      this.openLength += size;
      writeLength(this.slab, this.openAt, this.openLength);
    } else {
      this.head(size, FrameType.DATA, 0, id);
      this.openStream = id;
      this.openAt = this.end - HEAD_BYTES;
      this.openLength = size;
    }
    const { slab } = this;
    let at = this.end;
    let from = offset;
    let left = size;
    for (; from < 0 && left > 0; from++, left--) {
      slab[at++] = from === -PREFIX_BYTES ? compressed : message.length >>> (-(from + 1) * 8);
    }
    if (left > 0) slab.set(from === 0 && left === message.length ? message : message.subarray(from, from + left), at);
    this.end = at + left;
    if (!isEnd) return;
    slab[this.openAt + 4] = Flag.END_STREAM;
    this.openStream = 0;
  }

  private largeHeaders(id: number, flags: number, bound: number, write: WriteBlock): void {
    const block = Buffer.allocUnsafe(bound);
    const length = write(block, 0);
    for (let at = 0; at < length || at === 0; at += DEFAULT_FRAME_SIZE) {
      const size = Math.min(DEFAULT_FRAME_SIZE, length - at);
      const last = at + size === length ? Flag.END_HEADERS : 0;
      this.head(size, at === 0 ? FrameType.HEADERS : FrameType.CONTINUATION, (at === 0 ? flags : 0) | last, id);
      this.slab.set(block.subarray(at, at + size), this.end);
      this.end += size;
    }
  }

  private head(length: number, type: number, flags: number, id: number): void {
    this.reserve(HEAD_BYTES + length);
    const { slab, end } = this;
    writeLength(slab, end, length);
    slab[end + 3] = type;
    slab[end + 4] = flags;
    writeUint32(slab, end + 5, id);
    this.end = end + HEAD_BYTES;
    this.openStream = 0;
  }

  private uint32(value: number): void {
    writeUint32(this.slab, this.end, value);
    this.end += 4;
  }

  /** Makes room for `size` bytes in one piece. */
  private reserve(size: number): void {
    if (this.slab.length - this.end >= size) return;
    this.seal();
    const spare = size <= SLAB_BYTES ? SPARE_SLABS.pop() : undefined;
    this.slab = spare ?? Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, size));
    this.start = 0;
    this.end = 0;
  }

  private seal(): void {
    const size = this.end - this.start;
    if (size === 0) return;
    this.chunks.push(this.slab.subarray(this.start, this.end));
    this.chunkBytes += size;
    this.start = this.end;
  }
}

function writeLength(target: Uint8Array, at: number, length: number): void {
  target[at] = length >>> 16;
  target[at + 1] = length >>> 8;
  target[at + 2] = length;
}
