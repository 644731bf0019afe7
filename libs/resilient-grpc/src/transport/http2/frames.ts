import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { TransportProtection } from '../protection.js';

/** Types of frames (RFC 9113, section 6). */
export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

/** Flags of frames. Their meaning depends on the type. */
export const Flag = { ACK: 1, END_STREAM: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;

/** Settings (RFC 9113, section 6.5.2). */
export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

/** The first bytes of a client (RFC 9113, section 3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
export const HEAD_BYTES = 9;
export const DEFAULT_WINDOW = 65_535;
export const DEFAULT_FRAME_SIZE = 16_384;
export const MAX_WINDOW = 0x7fff_ffff;
export const MAX_STREAM_ID = 0x7fff_ffff;

/** An error of the peer that ends the connection. */
export class ConnectionError extends Error {
  constructor(
    readonly code: number,
    details: string,
    readonly protection: TransportProtection,
  ) {
    super(details);
  }
}

/** @throws ConnectionError */
export function violation(details: string, code: number = HTTP2_ERROR_CODES.PROTOCOL_ERROR): never {
  throw new ConnectionError(code, details, 'protocol-violation');
}

/** @throws ConnectionError */
export function wrongSize(details: string): never {
  violation(details, HTTP2_ERROR_CODES.FRAME_SIZE_ERROR);
}

/** @throws ConnectionError */
export function excess(protection: TransportProtection, details: string): never {
  throw new ConnectionError(HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM, details, protection);
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}
