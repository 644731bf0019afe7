const VARINT = 0;
const BYTES = 2;

/** Encodes one field (https://protobuf.dev/programming-guides/encoding/). Negative numbers are encoded like int32 and int64. */
export function writeField(number: number, value: bigint | Uint8Array): Uint8Array {
  return typeof value === 'bigint'
    ? Buffer.concat([tag(number, VARINT), varint(value)])
    : Buffer.concat([tag(number, BYTES), varint(BigInt(value.length)), value]);
}

function tag(number: number, wireType: number): Uint8Array {
  return varint(BigInt((number << 3) | wireType));
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
