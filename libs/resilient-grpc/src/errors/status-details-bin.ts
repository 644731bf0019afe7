import type { StatusCode } from '../status/status-code.js';
import {
  isRepeated,
  MAX_DURATION_MS,
  shapeOf,
  typeNameOf,
  type FieldKind,
  type Shape,
  ANY_FIELDS,
  STATUS_FIELDS,
  type StatusDetail,
} from './status-details.js';
import { writeField } from './protobuf-fields.js';

const TYPE_PREFIX = 'type.googleapis.com/';
const INT64_LIMIT = 2 ** 63;

/**
 * Returns the value of the trailer `grpc-status-details-bin`: an encoded `google.rpc.Status` (https://google.aip.dev/193). The `typeUrl` of
 * a detail can be a full type URL or just the type name, such as 'google.rpc.ErrorInfo'.
 * @throws TypeError if a detail has no type name, or its value is not valid for its type; the message contains the path of the problem
 */
export function statusDetailsBin(code: StatusCode, message: string, details: readonly StatusDetail[]): Buffer {
  return Buffer.concat([
    ...(code === 0 ? [] : [writeField(STATUS_FIELDS.code, BigInt(code))]),
    ...(message === '' ? [] : [writeField(STATUS_FIELDS.message, Buffer.from(message))]),
    ...details.map((detail, at) =>
      writeField(STATUS_FIELDS.details, encodeAny(detail, `statusDetails[${String(at)}]`)),
    ),
  ]);
}

function encodeAny({ typeUrl, value }: StatusDetail, path: string): Uint8Array {
  if (typeof typeUrl !== 'string' || typeNameOf(typeUrl) === '') {
    throw new TypeError(
      `${path}.typeUrl: expected a type name such as 'google.rpc.ErrorInfo', got ${JSON.stringify(typeUrl)}`,
    );
  }
  const url = typeUrl.includes('/') ? typeUrl : TYPE_PREFIX + typeUrl;
  return Buffer.concat([
    writeField(ANY_FIELDS.typeUrl, Buffer.from(url)),
    writeField(ANY_FIELDS.value, encodeDetail(typeNameOf(typeUrl), value, `${path}.value`)),
  ]);
}

/**
 * Encodes a detail. `value` is either bytes or an object with the shape of its type. Any field of the object may be omitted. Bytes are
 * returned unchanged. `path` is the location of the value, for the error.
 * @throws TypeError if `value` is not bytes and has an unknown type or the wrong shape
 */
function encodeDetail(typeName: string, value: unknown, path: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const shape = shapeOf(typeName);
  if (shape === undefined) {
    throw new TypeError(
      `${path}: expected a standard detail type of google.rpc, got '${typeName}'; encode other types yourself and pass a Uint8Array`,
    );
  }
  return encodeMessage(shape, value, path, typeName);
}

function encodeMessage(shape: Shape, value: unknown, path: string, what: string): Uint8Array {
  const names = Object.keys(shape);
  const encoded = entriesOf(value, path, `an object with the fields of ${what}`).map(([name, part]) => {
    const kind = Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (kind === undefined) {
      throw new TypeError(`${path}.${name}: unknown field of ${what}; known fields: ${names.join(', ')}`);
    }
    return part === undefined ? new Uint8Array() : encodeField(names.indexOf(name) + 1, kind, part, `${path}.${name}`);
  });
  return Buffer.concat(encoded);
}

function encodeField(number: number, kind: FieldKind, value: unknown, path: string): Uint8Array {
  if (kind === 'number') return writeField(number, int64(value, path));
  if (kind === 'map') {
    const entries = entriesOf(value, path, 'an object with string values').map(([key, text]) =>
      writeField(
        number,
        Buffer.concat([textField(1, key), textField(2, stringOf(text, `${path}[${JSON.stringify(key)}]`))]),
      ),
    );
    return Buffer.concat(entries);
  }
  if (isRepeated(kind)) {
    if (!Array.isArray(value)) throw wrong(path, 'an array', value);
    return Buffer.concat(
      value.map((one, at) => writeField(number, encodeValue(kind[0], one, `${path}[${String(at)}]`))),
    );
  }
  // Empty text is omitted, because readers decode a missing field as empty text.
  if (kind === 'text') return textField(number, stringOf(value, path));
  return writeField(number, encodeValue(kind, value, path));
}

function encodeValue(kind: 'text' | 'duration' | Shape, value: unknown, path: string): Uint8Array {
  if (kind === 'text') return Buffer.from(stringOf(value, path));
  return kind === 'duration' ? duration(value, path) : encodeMessage(kind, value, path, 'this message');
}

function textField(number: number, text: string): Uint8Array {
  return text === '' ? new Uint8Array() : writeField(number, Buffer.from(text));
}

function duration(value: unknown, path: string): Uint8Array {
  if (typeof value !== 'number' || !(Math.abs(value) <= MAX_DURATION_MS)) {
    throw wrong(path, 'a duration in milliseconds', value);
  }
  const whole = Math.trunc(value / 1_000);
  const rest = Math.round((value - whole * 1_000) * 1_000_000);
  // Rounding may turn the nanoseconds into a whole second.
  const carry = Math.trunc(rest / 1_000_000_000);
  const seconds = BigInt(whole + carry);
  const nanos = BigInt(rest - carry * 1_000_000_000);
  return Buffer.concat([seconds, nanos].map((part, at) => (part === 0n ? new Uint8Array() : writeField(at + 1, part))));
}

function int64(value: unknown, path: string): bigint {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < -INT64_LIMIT || value >= INT64_LIMIT) {
    throw wrong(path, 'a 64-bit integer', value);
  }
  return BigInt(value);
}

function stringOf(value: unknown, path: string): string {
  if (typeof value !== 'string') throw wrong(path, 'a string', value);
  return value;
}

function entriesOf(value: unknown, path: string, expected: string): readonly [name: string, value: unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map) {
    throw wrong(path, expected, value);
  }
  return Object.entries(value);
}

function wrong(path: string, expected: string, found: unknown): TypeError {
  return new TypeError(`${path}: expected ${expected}, got ${inspect(found)}`);
}

function inspect(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (value instanceof Map) return 'a Map';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'string' ? JSON.stringify(value) : typeof value === 'function' ? 'a function' : String(value);
}
