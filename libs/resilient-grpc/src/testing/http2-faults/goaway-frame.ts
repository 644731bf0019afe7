import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';

/** The last stream ID of a GOAWAY that does not reject any stream yet. */
export const NO_LAST_STREAM_ID = 2 ** 31 - 1;

const GOAWAY = 7;
const HEADER_BYTES = 9;

/** Encodes a GOAWAY frame (RFC 9113, section 6.8). */
export function goawayFrame(lastStreamId: number, code: number, debugData = ''): Buffer {
  const debug = Buffer.from(debugData);
  const frame = Buffer.alloc(HEADER_BYTES + 8 + debug.length);
  frame.writeUIntBE(8 + debug.length, 0, 3);
  frame.writeUInt8(GOAWAY, 3);
  // Flags and stream ID stay 0: GOAWAY applies to the connection.
  frame.writeUInt32BE(lastStreamId, HEADER_BYTES);
  frame.writeUInt32BE(code, HEADER_BYTES + 4);
  debug.copy(frame, HEADER_BYTES + 8);
  return frame;
}

/** Returns `frames` without the GOAWAY frames whose error code is NO_ERROR. */
export function withoutGoaway(frames: Buffer): Buffer {
  const kept: Buffer[] = [];
  for (let at = 0; at < frames.length;) {
    const end = at + HEADER_BYTES + frames.readUIntBE(at, 3);
    const frame = frames.subarray(at, end);
    if (frame[3] !== GOAWAY || frame.readUInt32BE(HEADER_BYTES + 4) !== HTTP2_ERROR_CODES.NO_ERROR) kept.push(frame);
    at = end;
  }
  return kept.length === 1 && kept[0]?.length === frames.length ? frames : Buffer.concat(kept);
}
