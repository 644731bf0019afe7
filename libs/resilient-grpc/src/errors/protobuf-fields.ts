/** One field of an encoded message: its number, and a varint, a double, or bytes. Fixed 32-bit fields are skipped. */
export interface WireField {
  readonly number: number;
  readonly value: bigint | number | Uint8Array;
}

/** Number of fields that may still be read. Limits the time spent reading messages from a peer. */
export interface FieldBudget {
  fields: number;
}

const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;

/**
 * Returns the fields of an encoded protobuf message, in wire order (https://protobuf.dev/programming-guides/encoding/).
 *
 * @param budget remaining number of fields, reduced by 1 for each field; unlimited by default
 * @throws Error if the bytes are not a valid message, or if the budget is exhausted
 */
export function readFields(bytes: Uint8Array, budget?: FieldBudget): readonly WireField[] {
  const fields: WireField[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let offset = 0;

  function varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[offset++];
      if (byte === undefined) throw new Error('the message ends within a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Error('a number is longer than ten bytes');
  }

  /** Reads a tag or a length, which is usually one byte long. */
  function integer(): number {
    const byte = bytes[offset];
    if (byte === undefined || byte >= 0x80) return Number(varint());
    offset += 1;
    return byte;
  }

  function skip(length: number): number {
    const start = offset;
    offset += length;
    if (offset > bytes.length) throw new Error('the message ends within a field');
    return start;
  }

  while (offset < bytes.length) {
    if (budget !== undefined && --budget.fields < 0) throw new Error('the message has too many fields');
    const tag = integer();
    const number = tag >>> 3;
    if (number === 0) throw new Error('a field has no number');
    switch (tag & 7) {
      case VARINT:
        fields.push({ number, value: varint() });
        break;
      case BYTES:
        fields.push({ number, value: bytes.subarray(skip(integer()), offset) });
        break;
      case FIXED_64:
        fields.push({ number, value: view.getFloat64(skip(8), true) });
        break;
      case FIXED_32:
        skip(4);
        break;
      default:
        throw new Error(`a field has the unknown wire type ${String(tag & 7)}`);
    }
  }
  return fields;
}

/** Encodes one field (https://protobuf.dev/programming-guides/encoding/). Negative integers are encoded as in int32 and int64. */
export function writeField(number: number, value: WireField['value']): Buffer {
  if (typeof value === 'bigint') return Buffer.concat([tag(number, VARINT), varintBytes(value)]);
  if (typeof value === 'number')
    return Buffer.concat([tag(number, FIXED_64), new Uint8Array(Float64Array.of(value).buffer)]);
  return Buffer.concat([tag(number, BYTES), varintBytes(BigInt(value.length)), value]);
}

function tag(number: number, wireType: number): Uint8Array {
  return varintBytes(BigInt((number << 3) | wireType));
}

function varintBytes(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
