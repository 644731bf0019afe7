import { isObservableLike, isPlainObject, truncate } from '../policy/options/describe-value.js';
import type { Field, FieldValues, MessageType } from './message-type.js';
import { isBuiltIn } from './well-known-types.js';

/** A value that proto-loader's serializer replaces without an error. */
export interface ReplacedValue {
  /** Type that the field expects, such as 'a number'. */
  readonly expected: string;
  /** Correction, such as "write 'SHIPPED'", if known. */
  readonly remedy?: string | undefined;
  /** The value that is sent instead; `undefined` if the field is omitted. */
  readonly sent: unknown;
}

/** Half of a character, which UTF-8 cannot encode. */
const LONE_SURROGATE = /\p{Surrogate}/u;
const MAX_LIST_LENGTH = 100;

/** Returns the replacement of one value of a field other than a message; `undefined` if it arrives as it was meant. */
export function replacedValue(
  value: unknown,
  field: FieldValues & Partial<Pick<Field, 'holds'>>,
): ReplacedValue | undefined {
  switch (field.kind) {
    case 'string': {
      if (typeof value === 'string')
        return LONE_SURROGATE.test(value) ? { expected: 'valid Unicode', sent: '…' } : undefined;
      if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return undefined;
      // Objects with a meaningful string form, such as dates and database ids, are not reported.
      const sent = String(value);
      const isMeant = typeof value === 'object' && !Array.isArray(value) && !sent.startsWith('[object ');
      return isMeant ? undefined : { expected: 'a string', sent };
    }
    case 'integer':
    case 'float':
    case 'double':
      return replacedNumber(value, field);
    case 'long':
      return replacedLong(value, field.unsigned);
    case 'boolean': {
      // Strings that mean false are sent as true, as is a Buffer of zeros, which database drivers return for false in a BIT(1) column.
      // Other strings, such as 'yes', are sent as true, as intended.
      const isMeant =
        typeof value === 'string'
          ? !/^(false|no|off|0)$/i.test(value)
          : typeof value === 'object'
            ? value instanceof Uint8Array && value.some(Boolean)
            : typeof value !== 'function' && typeof value !== 'symbol';
      return isMeant ? undefined : { expected: 'a boolean', sent: true };
    }
    case 'bytes':
      return replacedBytes(value);
    case 'enum':
      return replacedEnumValue(value, field, field.holds === 'list' ? 0 : undefined);
    case 'message':
    case 'other':
      return undefined;
  }
}

function replacedNumber(value: unknown, field: FieldValues): ReplacedValue | undefined {
  // Number('') and Number([]) are 0.
  const given = Array.isArray(value) || String(value).trim() === '' ? NaN : Number(value);
  if (field.kind !== 'integer') {
    const sent = field.kind === 'float' ? Math.fround(Number(value)) : Number(value);
    if (Number.isNaN(given) && typeof value !== 'number' && value !== 'NaN') return { expected: 'a number', sent };
    return Number.isFinite(sent) || !Number.isFinite(given) ? undefined : { expected: 'a number below 2^128', sent };
  }
  const sent = field.unsigned ? Number(value) >>> 0 : Number(value) | 0;
  if (sent === given) return undefined;
  return { expected: Number.isNaN(given) ? 'a number' : integerRange(32, field.unsigned), sent };
}

export function integerRange(bits: 32 | 64, unsigned: boolean): string {
  const [min, max] = unsigned ? ['0', bits] : [`-2^${String(bits - 1)}`, bits - 1];
  return `an integer from ${min} to 2^${String(max)}-1`;
}

function replacedLong(value: unknown, unsigned: boolean): ReplacedValue | undefined {
  const range = integerRange(64, unsigned);
  if (typeof value === 'number') {
    // 2^63 and 2^64 are what the loader option `longs: Number` makes of the largest integer, which the serializer sends.
    const [min, max] = unsigned ? [0, 2 ** 64] : [-(2 ** 63), 2 ** 63];
    if (Number.isInteger(value) && value >= min && value <= max) return undefined;
    const sent = Math.min(Math.max(Math.trunc(value), min), max) || 0;
    return { expected: Number.isNaN(value) ? 'an integer' : range, sent };
  }
  if (typeof value === 'string') {
    if (!/^[+-]?\d+$/.test(value)) {
      // The serializer parses a string up to the first character that is not part of an integer.
      return { expected: 'an integer', sent: parseInt(value, 10) || 0 };
    }
    const given = BigInt(value.replace('+', ''));
    const sent = unsigned ? BigInt.asUintN(64, given) : BigInt.asIntN(64, given);
    return sent === given ? undefined : { expected: range, sent };
  }
  if (typeof value !== 'object' || value === null || !('low' in value || 'high' in value))
    return { expected: 'an integer', sent: 0 };
  // A Long with the highest bit is negative or not, depending on its type.
  const { high, unsigned: isUnsigned = unsigned } = value as { readonly high?: number; readonly unsigned?: boolean };
  return isUnsigned !== unsigned && (high ?? 0) < 0 ? { expected: range, sent: 'another integer' } : undefined;
}

function replacedBytes(value: unknown): ReplacedValue | undefined {
  if (typeof value === 'string') {
    const end = value.indexOf('=');
    const padding = end < 0 ? '' : value.slice(end);
    // With other padding, the serializer sends more bytes than the text has.
    const isBase64 = padding === '' || padding === '=' || (padding === '==' && end % 4 === 2);
    return isBase64 ? undefined : { expected: 'base64', sent: 'other bytes' };
  }
  const { length } = value as ArrayLike<unknown>;
  if (!(length >= 0)) return { expected: 'a Buffer', sent: undefined };
  if ((value as Uint8Array).BYTES_PER_ELEMENT === 1) return undefined;
  // Safe: `every` reads any object with a length.
  const isBytes = Array.prototype.every.call(value, (one: unknown) => Number(one) === (Number(one) & 255));
  return isBytes && typeof value === 'object' ? undefined : { expected: 'a Buffer', sent: 'other bytes' };
}

function replacedEnumValue(
  value: unknown,
  { name, values }: FieldValues & { kind: 'enum' },
  sent: unknown,
): ReplacedValue | undefined {
  if (typeof value === 'number') {
    return (value | 0) === value ? undefined : { expected: integerRange(32, false), sent: value | 0 };
  }
  if (typeof value === 'string' && values.has(value)) return undefined;
  return { expected: `a value of ${name}`, remedy: `its values are ${listed(values)}`, sent };
}

/**
 * Returns the replacement of a value of a message field that contains no field of `type`, if it was probably passed by mistake: a Promise or
 * an Observable, or another object that the serializer reads as an empty message. For a well-known type (Timestamp, a wrapper, Struct), any
 * object without a field of the type is a mistake, except `{}`. For other types, only a built-in object such as a Map is a mistake, because
 * an empty plain object or class instance may be intended.
 */
export function replacedMessage(value: unknown, type: MessageType): ReplacedValue | undefined {
  const fields = [...type.fields.keys()];
  if (fields.length === 0) return undefined;
  const remedy = isObservableLike(value)
    ? 'pass a message that it emits'
    : isThenable(value)
      ? 'await it first'
      : undefined;
  const lost = { expected: `an object with ${listed(fields)}`, remedy, sent: {} };
  if (typeof value !== 'object' || value === null || remedy !== undefined) return lost;
  const isPlain = isPlainObject(value);
  const isWellKnown = type.fullName.startsWith('google.protobuf.') && !(isPlain && Object.keys(value).length === 0);
  if (!isWellKnown && (isPlain || !isBuiltIn(value))) return undefined;
  return fields.some((field) => field in value) ? undefined : lost;
}

/** True if `value` has a `then` method. A getter is not called, because reading `then` of a call reports the call as awaited. */
function isThenable(value: unknown): boolean {
  let owner = typeof value === 'object' ? value : null;
  while (owner !== null) {
    const then = Object.getOwnPropertyDescriptor(owner, 'then');
    if (then !== undefined) return typeof then.value === 'function';
    owner = Object.getPrototypeOf(owner) as object | null;
  }
  return false;
}

function listed(names: Iterable<string>): string {
  return truncate([...names].map((name) => `'${name}'`).join(', '), MAX_LIST_LENGTH);
}
