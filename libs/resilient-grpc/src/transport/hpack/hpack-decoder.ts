import { DynamicTable, ENTRY_OVERHEAD } from './dynamic-table.js';
import { HeaderBlock } from './header-block.js';
import { HpackError } from './hpack-error.js';
import { decodedBound, decodeHuffman } from './huffman.js';
import { IGNORED, STATIC_COUNT, STATIC_FIELDS, type Field } from './static-table.js';

// First byte of each representation (RFC 7541, section 6): the bits that identify it, and the mask of its integer.
const INDEXED = 0x80;
const INDEXED_MASK = 0x7f;
const INSERTED = 0x40;
const INSERTED_MASK = 0x3f;
const SIZE_UPDATE = 0x20;
const SIZE_UPDATE_MASK = 0x1f;
const NEVER_INDEXED = 0x10;
const LITERAL_MASK = 0x0f;
const HUFFMAN = 0x80;
const LENGTH_MASK = 0x7f;

/** Maximum shift of an integer's continuation: integers are below 2^28. */
const MAX_SHIFT = 21;
/** Number of encoded fields that are kept. Peers repeat most fields of their header blocks byte by byte. */
const KEPT_FIELDS = 1_024;
/** Maximum size of a kept encoded field. Longer ones mostly differ from call to call. */
const MAX_KEPT_BYTES = 48;

const NONE = Buffer.alloc(0);
/** Takes one decoded string, for all decoders. */
let scratch = Buffer.allocUnsafeSlow(1_024);
const MAX_SCRATCH_BYTES = 65_536;

/** Stands for a field that is not decoded, because it is dropped. */
const UNWANTED: Field = { name: '', value: '' };

interface KeptField {
  readonly bytes: Uint8Array;
  readonly field: Field;
}

/** Latest encoded literals of all connections by the hash of their bytes: per connection, a client could have thousands of times as many kept. */
const kept: (KeptField | undefined)[] = Array<undefined>(KEPT_FIELDS).fill(undefined);

/** Decodes the header blocks of one connection (RFC 7541). */
export class HpackDecoder {
  private readonly table: DynamicTable;
  private bytes: Buffer = NONE;
  private at = 0;
  private end = 0;
  /** Length of the name in the table of the latest field that was not wanted. */
  private nameLength = 0;
  /** What the latest string contains besides printable ASCII: `CONTROL`, `UNUSUAL`, or both. */
  private contents = 0;

  /**
   * @param maxTableSize upper limit of the dynamic table in bytes, which this side announces
   * @param maxListSize maximum size of a header list (RFC 9113, section 6.5.2); the fields beyond it are dropped
   */
  constructor(
    private readonly maxTableSize: number,
    private readonly maxListSize: number,
  ) {
    // Until the peer has received the settings of this side, the size is 4,096.
    this.table = new DynamicTable(Math.max(maxTableSize, 4_096));
  }

  /**
   * Decodes the block `bytes[at..end)`.
   *
   * @param isRead false if only its size and what it changes in the table matter; then it has no fields
   * @throws HpackError if the peer's encoder does not follow RFC 7541, so that the tables of both sides may differ
   */
  decode(bytes: Buffer, at: number, end: number, isRead = true): HeaderBlock {
    const block = new HeaderBlock(this.maxListSize);
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    let mayUpdate = true;
    let isWanted = isRead;
    while (this.at < end) {
      const first = bytes[this.at]!;
      if ((first & 0xe0) === SIZE_UPDATE) {
        // RFC 7541, section 4.2: only at the start of a block.
        if (!mayUpdate) throw new HpackError('table size update inside a header block');
        const size = this.integer(SIZE_UPDATE_MASK);
        if (size > Math.max(this.maxTableSize, 4_096)) throw new HpackError(`table size ${String(size)}`);
        this.table.resize(size);
        continue;
      }
      mayUpdate = false;
      if (!isWanted && first & INDEXED && first < (INDEXED | INDEXED_MASK)) {
        this.countIndexed(block);
        continue;
      }
      const { at: from } = this;
      const field = first & INDEXED ? this.fieldAt(this.integer(INDEXED_MASK)) : this.literal(first, isWanted);
      const length = field === UNWANTED ? this.nameLength + this.at - from : field.name.length + field.value.length;
      block.count += 1;
      block.size += length + ENTRY_OVERHEAD;
      if (!isWanted) continue;
      // Decodes the fields beyond the limit, too, if they change the table.
      isWanted = !block.isTooLarge;
      if (isWanted) block.add(field);
    }
    this.bytes = NONE;
    return block;
  }

  /** Counts fields of the tables that are not wanted: a block may repeat one of them thousands of times, in a byte each. */
  private countIndexed(block: HeaderBlock): void {
    const { bytes, end, at: from } = this;
    let { at } = this;
    let size = 0;
    let latest = -1;
    let length = 0;
    for (; at < end; at++) {
      const index = bytes[at]! - INDEXED;
      if (index < 0 || index === INDEXED_MASK) break;
      if (index !== latest) {
        const { name, value } = this.fieldAt(index);
        latest = index;
        length = name.length + value.length + ENTRY_OVERHEAD;
      }
      size += length;
    }
    this.at = at;
    block.size += size;
    block.count += at - from;
  }

  private literal(first: number, isWanted: boolean): Field {
    const from = this.at;
    const isInserted = (first & INSERTED) !== 0;
    const index = this.integer(isInserted ? INSERTED_MASK : LITERAL_MASK);
    const nameAt = this.at;
    const nameEnd = index === 0 ? this.skipString(nameAt) : nameAt;
    const end = this.skipString(nameEnd);
    this.at = end;
    const named = index === 0 ? undefined : this.fieldAt(index);
    if (!isWanted && !isInserted) {
      this.nameLength = named?.name.length ?? 0;
      return UNWANTED;
    }
    const { bytes } = this;
    // The name of a dynamic entry may be another one next time, and values that must not be indexed are secrets.
    const isPublic = index <= STATIC_COUNT && (isInserted || !(first & NEVER_INDEXED));
    const isKept = isWanted && isPublic && end - from <= MAX_KEPT_BYTES;
    let slot = 0;
    if (isKept) {
      slot = hashOf(bytes, from, end) % KEPT_FIELDS;
      const known = kept[slot];
      if (known !== undefined && areEqual(known.bytes, bytes, from, end)) {
        if (isInserted) this.table.insert(known.field);
        return known.field;
      }
    }
    const name = named?.name ?? this.string(nameAt);
    const value = this.string(nameEnd);
    // A name in the table of the peer was checked when it was inserted: it may be long, and a reference to it short.
    const nameProblem = index > STATIC_COUNT ? named?.nameProblem : problemOfName(name);
    const problem = nameProblem ?? (this.contents & CONTROL ? problemOfValue(name) : undefined);
    const isUsual = problem === undefined && this.contents === 0;
    const field: Field = isUsual ? { name, value } : { name, value, problem, nameProblem, isUnusual: true };
    if (isInserted) this.table.insert(field);
    if (isKept) kept[slot] = { bytes: Uint8Array.prototype.slice.call(bytes, from, end), field };
    return field;
  }

  private fieldAt(index: number): Field {
    const field = index <= STATIC_COUNT ? STATIC_FIELDS[index] : this.table.get(index - STATIC_COUNT);
    if (field === undefined || index === 0) throw new HpackError(`index ${String(index)}`);
    return field;
  }

  /** Reads an integer with a prefix of the bits in `mask`, at most 2^28 − 1. */
  private integer(mask: number): number {
    const { bytes } = this;
    let value = bytes[this.at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= MAX_SHIFT && this.at < this.end; shift += 7) {
      const byte = bytes[this.at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError('truncated or huge integer');
  }

  /** Returns the end of the string at `at`. */
  private skipString(at: number): number {
    if (at >= this.end) throw new HpackError('truncated string');
    this.at = at;
    const length = this.integer(LENGTH_MASK);
    if (length > this.end - this.at) throw new HpackError('truncated string');
    return this.at + length;
  }

  /** Decodes the string at `at`, which is complete, and sets `contents`. */
  private string(at: number): string {
    const { bytes, at: before } = this;
    this.at = at;
    const length = this.integer(LENGTH_MASK);
    const from = this.at;
    this.at = before;
    if (!(bytes[at]! & HUFFMAN)) {
      this.contents = contentsOf(bytes, from, from + length);
      return bytes.toString('latin1', from, from + length);
    }
    const bound = decodedBound(length);
    const target = bound > scratch.length ? Buffer.allocUnsafeSlow(bound) : scratch;
    if (bound <= MAX_SCRATCH_BYTES) scratch = target;
    const end = decodeHuffman(bytes, from, from + length, target);
    this.contents = contentsOf(target, 0, end);
    return target.toString('latin1', 0, end);
  }
}

function hashOf(bytes: Uint8Array, at: number, end: number): number {
  let hash = end - at;
  for (let from = at; from < end; from++) hash = (Math.imul(hash, 31) + bytes[from]!) >>> 0;
  return hash;
}

function areEqual(known: Uint8Array, bytes: Uint8Array, at: number, end: number): boolean {
  if (known.length !== end - at) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[at + i]) return false;
  return true;
}

/** Fields that only HTTP/1 has (RFC 9113, section 8.2.2). */
const CONNECTION_FIELDS = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

/** Returns the reason why a field with this name is malformed (RFC 9113, section 8.2.1); `undefined` if it is not. */
function problemOfName(name: string): string | undefined {
  if (!isValidName(name)) return `field name ${JSON.stringify(name.slice(0, 40))}`;
  return CONNECTION_FIELDS.has(name) ? `field ${name}` : undefined;
}

/**
 * A value with control characters makes a pseudo-header field malformed; other fields are ignored then. HTTP also forbids white space at either
 * end, but gRPC's status messages may have it.
 */
function problemOfValue(name: string): string {
  return name.startsWith(':') ? `value of ${name}` : IGNORED;
}

/** No upper case, control characters, spaces, or colons except at the start. */
function isValidName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || (code >= 0x41 && code <= 0x5a) || (code === 0x3a && i > 0)) return false;
  }
  return name.length > 0;
}

/** A control character other than a tab. */
const CONTROL = 1;
/** A tab or a byte above ASCII. */
const UNUSUAL = 2;
const CONTENTS = Uint8Array.from({ length: 256 }, (_, code) => {
  if (code === 0x09 || code >= 0x80) return UNUSUAL;
  return code < 0x20 || code === 0x7f ? CONTROL : 0;
});

function contentsOf(bytes: Uint8Array, at: number, end: number): number {
  let contents = 0;
  for (let from = at; from < end; from++) contents |= CONTENTS[bytes[from]!]!;
  return contents;
}
