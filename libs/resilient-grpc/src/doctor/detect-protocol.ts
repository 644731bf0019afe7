/**
 * The protocol of a server, detected from the start of its response to the HTTP/2 preface. `goaway` means HTTP/2 with an immediate GOAWAY.
 */
export type DetectedProtocol = 'http2' | 'goaway' | 'http1' | 'tls' | 'unknown';

/** The client's connection preface with an empty SETTINGS frame (RFC 9113, 3.4). */
export const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/** Number of bytes that are enough to detect the protocol: the length of an HTTP/2 frame header (RFC 9113, 4.1). */
export const DETECTION_BYTES = 9;

const SETTINGS = 4;
const GOAWAY = 7;
const TLS_ALERT = 0x15;
const TLS_HANDSHAKE = 0x16;

/** Detects the protocol of a response that starts with `bytes`. */
export function detectProtocol(bytes: Buffer): DetectedProtocol {
  if (bytes.subarray(0, 5).toString('latin1') === 'HTTP/') return 'http1';
  if ((bytes[0] === TLS_ALERT || bytes[0] === TLS_HANDSHAKE) && bytes[1] === 3) return 'tls';
  if (bytes.length < DETECTION_BYTES || bytes.readUInt32BE(5) !== 0) return 'unknown';
  if (bytes[3] === SETTINGS) return 'http2';
  return bytes[3] === GOAWAY ? 'goaway' : 'unknown';
}

/** Returns the first line of `bytes`, made safe to print and limited to 60 characters. */
export function firstLine(bytes: Buffer): string {
  const text = bytes.toString('latin1').split(/\r?\n/)[0] ?? '';
  return text.replace(/[^\x20-\x7e]/g, '.').slice(0, 60);
}
