/** Types of HTTP/2 frames (RFC 9113, section 6; ALTSVC: RFC 7838; ORIGIN: RFC 8336). */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
  altsvc: 10,
  origin: 12,
} as const;
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;
export const SETTING = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** The connection preface of a client. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME_HEADER_BYTES = 9;
const EMPTY = Buffer.alloc(0);

/** Header fields; pairs if a name occurs twice. */
export type Fields = Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[];

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  return frameOfLength(payload.length, type, flags, stream, payload);
}

/** A frame whose header claims `length` bytes of payload, regardless of `payload`. */
export function frameOfLength(length: number, type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUIntBE(length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Big-endian 32-bit integers. */
export function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4);
  return bytes;
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(FRAME.settings, 0, 0, payload);
}

export const settingsAck = (): Buffer => frame(FRAME.settings, FLAG.ack, 0, EMPTY);

export const ping = (payload: Buffer, flags = 0): Buffer => frame(FRAME.ping, flags, 0, payload);

export const reset = (stream: number, code: number): Buffer => frame(FRAME.reset, 0, stream, numbers(code));

export const windowUpdate = (stream: number, increment: number): Buffer =>
  frame(FRAME.windowUpdate, 0, stream, numbers(increment));

export const goaway = (lastStreamId: number, code: number, debugData: Buffer = EMPTY): Buffer =>
  frame(FRAME.goaway, 0, 0, Buffer.concat([numbers(lastStreamId, code), debugData]));

/** HEADERS frame with all fields. */
export const headers = (stream: number, fields: Fields, flags = 0): Buffer =>
  frame(FRAME.headers, FLAG.endHeaders | flags, stream, fieldBlock(fields));

/** The first half of `bytes`. */
export const half = (bytes: Buffer): Buffer => bytes.subarray(0, bytes.length / 2);

/** HPACK block of literal fields, without indexing and without Huffman coding. */
export function fieldBlock(fields: Fields): Buffer {
  // The cast is safe because the only array type of `Fields` is a list of pairs.
  const pairs = Array.isArray(fields) ? (fields as readonly (readonly [string, string])[]) : Object.entries(fields);
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** HPACK string without Huffman coding; its length is an integer with a 7-bit prefix. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.trunc(rest / 128)) length.push((rest % 128) + 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

/** A parsed frame. */
export interface ReadFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** Splits the bytes of a socket into frames. */
export class FrameReader {
  private unread: Buffer = EMPTY;

  /** @param skip number of bytes before the first frame, such as a preface */
  constructor(
    private skip: number,
    private readonly onFrame: (frame: ReadFrame) => void,
  ) {}

  read(bytes: Buffer): void {
    const skipped = Math.min(bytes.length, this.skip);
    this.skip -= skipped;
    this.unread = Buffer.concat([this.unread, bytes.subarray(skipped)]);
    while (this.unread.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + this.unread.readUIntBE(0, 3);
      if (this.unread.length < end) return;
      const [type, flags] = [this.unread.readUInt8(3), this.unread.readUInt8(4)];
      const [stream, payload] = [this.unread.readUInt32BE(5), this.unread.subarray(FRAME_HEADER_BYTES, end)];
      this.unread = this.unread.subarray(end);
      this.onFrame({ type, flags, stream, payload });
    }
  }
}
