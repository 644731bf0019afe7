import type { Field, MessageType } from './message-type.js';

const [VARINT, FIXED_64, BYTES, FIXED_32] = [0, 1, 2, 5];
/** Kinds of fields whose values are bytes with a length. Lists of others may be packed. */
const WITH_LENGTH: ReadonlySet<Field['kind']> = new Set(['string', 'bytes', 'message', 'other']);

interface Part {
  readonly wireType: number;
  /** The value, without its tag and length. */
  readonly value: Uint8Array;
}

/**
 * Returns `bytes`, an encoded message, in a form that all encoders share: fields by number, the entries of maps in order and without what is
 * zero or empty, lists of numbers packed, and repeated single fields as decoders read them. Unknown fields are kept. Encoders write maps in
 * any order, and those of Go in another one each time.
 *
 * @throws RangeError if the bytes are not a message
 */
export function canonicalMessage(bytes: Uint8Array, type: MessageType | undefined): Uint8Array {
  if (isCanonical(bytes, 0, bytes.length, type)) return bytes;
  const parts = new Map<number, Part[]>();
  for (const [number, part] of partsOf(bytes)) {
    const known = parts.get(number);
    if (known === undefined) parts.set(number, [part]);
    else known.push(part);
  }
  const numbers = [...parts.keys()].sort((a, b) => a - b);
  return Buffer.concat(
    numbers.flatMap((number) => canonicalField(number, parts.get(number) ?? [], type?.fieldNumbered(number))),
  );
}

/** True if `bytes` from `at` to `end` are in the canonical form already, as most encoders write messages without maps. Allocates nothing. */
function isCanonical(bytes: Uint8Array, at: number, end: number, type: MessageType | undefined): boolean {
  let last = 0;
  while (at < end) {
    const tag = bytes[at] ?? 128;
    // Fields with numbers above 15 take the way of all others.
    if (tag >= 128) return false;
    at += 1;
    const number = tag >> 3;
    const field = type?.fieldNumbered(number);
    if (number < last || (number === last && field?.holds !== 'list') || field?.holds === 'map') return false;
    last = number;
    switch (tag & 7) {
      case VARINT:
        if (field?.holds === 'list') return false;
        while ((bytes[at] ?? 0) >= 128) at += 1;
        at += 1;
        break;
      case FIXED_64:
      case FIXED_32:
        if (field?.holds === 'list') return false;
        at += (tag & 7) === FIXED_64 ? 8 : 4;
        break;
      case BYTES: {
        // A packed list may follow another one of the same field.
        if (field?.holds === 'list' && !WITH_LENGTH.has(field.kind)) return false;
        const length = bytes[at] ?? 128;
        if (length < 128) at += 1;
        else if ((bytes[at + 1] ?? 128) < 128) at += 2;
        else return false;
        const size = length < 128 ? length : (length & 127) + (bytes[at - 1] ?? 0) * 128;
        if (field?.kind === 'message' && !isCanonical(bytes, at, at + size, field.type)) return false;
        at += size;
        break;
      }
      default:
        return false;
    }
  }
  return at === end;
}

function canonicalField(number: number, parts: readonly Part[], field: Field | undefined): readonly Uint8Array[] {
  if (field === undefined) return parts.map((part) => written(number, part));
  const type = field.kind === 'message' ? field.type : undefined;
  const values = parts.map(({ value }) => value);
  switch (field.holds) {
    case 'single': {
      // Decoders merge messages that follow each other, and take the last of other values.
      if (type !== undefined) return [message(number, Buffer.concat(values), type)];
      const last = parts.at(-1);
      return last === undefined ? [] : [written(number, last)];
    }
    case 'list':
      if (type !== undefined) return values.map((value) => message(number, value, type));
      if (WITH_LENGTH.has(field.kind)) return parts.map((part) => written(number, part));
      return values.every(({ length }) => length === 0)
        ? []
        : [written(number, { wireType: BYTES, value: Buffer.concat(values) })];
    case 'map': {
      const entries = new Map<string, Uint8Array>();
      for (const value of values) {
        const ofEntry = new Map([...partsOf(value)]);
        const key = withoutDefault(ofEntry.get(1));
        const given = ofEntry.get(2);
        const item = withoutDefault(
          given && type !== undefined ? { ...given, value: canonicalMessage(given.value, type) } : given,
        );
        const parts = [
          ...(key === undefined ? [] : [written(1, key)]),
          ...(item === undefined ? [] : [written(2, item)]),
        ];
        entries.set(Buffer.from(key?.value ?? []).toString('latin1'), Buffer.concat(parts));
      }
      const keys = [...entries.keys()].sort();
      return keys.map((key) => written(number, { wireType: BYTES, value: entries.get(key) ?? new Uint8Array() }));
    }
  }
}

/** Returns the key or the value of a map entry; `undefined` if it is zero or empty, which some encoders write, and others leave out. */
function withoutDefault(part: Part | undefined): Part | undefined {
  const isDefault = part?.wireType === BYTES ? part.value.length === 0 : part?.value.every((byte) => byte === 0);
  return isDefault === true ? undefined : part;
}

function message(number: number, value: Uint8Array, type: MessageType): Uint8Array {
  return written(number, { wireType: BYTES, value: canonicalMessage(value, type) });
}

function* partsOf(bytes: Uint8Array): Generator<readonly [number: number, part: Part]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at];
      if (byte === undefined) throw new RangeError('the message ends within a number');
      at += 1;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag % 8;
    let start = at;
    let length = 0;
    if (wireType === VARINT) {
      varint();
      length = at - start;
      at = start;
    } else if (wireType === FIXED_64) length = 8;
    else if (wireType === FIXED_32) length = 4;
    else if (wireType === BYTES) {
      length = varint();
      start = at;
    } else throw new RangeError(`a field has the wire type ${String(wireType)}`);
    at = start + length;
    if (at > bytes.length) throw new RangeError('the message ends within a field');
    yield [Math.trunc(tag / 8), { wireType, value: bytes.subarray(start, at) }];
  }
}

function written(number: number, { wireType, value }: Part): Uint8Array {
  const length = wireType === BYTES ? varintBytes(value.length) : [];
  return Buffer.concat([Uint8Array.from([...varintBytes(number * 8 + wireType), ...length]), value]);
}

function varintBytes(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.trunc(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}
