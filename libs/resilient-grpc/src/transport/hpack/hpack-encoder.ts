import { staticFieldIndex, staticNameIndex } from './static-table.js';

// First byte of each representation (RFC 7541, section 6).
const INDEXED = 0x80;
const INDEXED_MASK = 0x7f;
const LITERAL = 0x00;
const NEVER_INDEXED = 0x10;
const LITERAL_MASK = 0x0f;
const LENGTH_MASK = 0x7f;
/** Length from which one call of a native function is faster than a loop. */
const NATIVE_WRITE_LENGTH = 24;

/** Fields that intermediaries must not index either (RFC 7541, section 7.1.3). */
const SECRETS = new Set(['authorization', 'cookie', 'set-cookie', 'proxy-authorization']);

/**
 * A table size update to 0 (RFC 7541, section 6.3), with which the first block of a connection starts. Blocks are encoded without the
 * dynamic table: the two sides have no table that could differ, and a block can be encoded once for all connections.
 */
export const TABLE_UPDATE = 0x20;

/** Returns an upper bound of the number of bytes in which `fields` (name, value, name, value) are encoded. */
export function encodedBound(fields: readonly string[]): number {
  let bytes = 0;
  // A name or a value has a length of at most five bytes.
  for (let i = 0; i < fields.length; i++) bytes += fields[i]!.length + 6;
  return bytes;
}

/** Returns the size of the header list (RFC 9113, section 6.5.2). */
export function listSize(fields: readonly string[]): number {
  let size = fields.length * 16;
  for (let i = 0; i < fields.length; i++) size += fields[i]!.length;
  return size;
}

/** Encodes `fields`, whose characters are below 256, at `target[at]`. Returns the end. */
export function encodeFields(target: Buffer, at: number, fields: readonly string[]): number {
  let end = at;
  for (let i = 0; i + 1 < fields.length; i += 2) end = encodeField(target, end, fields[i]!, fields[i + 1]!);
  return end;
}

/** Encodes a field at `target[at]`. Returns its end. */
function encodeField(target: Buffer, at: number, name: string, value: string): number {
  const nameIndex = staticNameIndex(name);
  const index = nameIndex === 0 ? 0 : staticFieldIndex(nameIndex, name, value);
  if (index !== 0) return writeInteger(target, at, INDEXED, INDEXED_MASK, index);
  const kind = SECRETS.has(name) ? NEVER_INDEXED : LITERAL;
  let end = writeInteger(target, at, kind, LITERAL_MASK, nameIndex);
  if (nameIndex === 0) end = writeString(target, end, name);
  return writeString(target, end, value);
}

function writeInteger(target: Buffer, at: number, pattern: number, mask: number, value: number): number {
  if (value < mask) {
    target[at] = pattern | value;
    return at + 1;
  }
  target[at] = pattern | mask;
  let end = at + 1;
  let left = value - mask;
  for (; left > 0x7f; left >>>= 7) target[end++] = 0x80 | (left & 0x7f);
  target[end] = left;
  return end + 1;
}

function writeString(target: Buffer, at: number, text: string): number {
  const { length } = text;
  const from = writeInteger(target, at, 0, LENGTH_MASK, length);
  if (length >= NATIVE_WRITE_LENGTH) return from + target.write(text, from, length, 'latin1');
  for (let i = 0; i < length; i++) target[from + i] = text.charCodeAt(i);
  return from + length;
}
