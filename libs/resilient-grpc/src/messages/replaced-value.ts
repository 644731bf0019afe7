import { closest } from '../errors/closest.js';
import { isObservableLike, truncate } from '../policy/options/describe-value.js';
import { isPlainObject } from '../policy/options/plain-object.js';
import { expectedScalar, type Field, type MessageType } from './message-type.js';

/** A value that proto-loader's serializer replaces without an error. */
export interface ReplacedValue {
  /** Type that the field expects, such as 'a number'. */
  readonly expected: string;
  /** Correction, such as "write 'SHIPPED'", if known. */
  readonly remedy?: string | undefined;
  /** The value that is sent instead; `undefined` if the field is omitted. */
  readonly sent: unknown;
}

const MAX_LIST_LENGTH = 100;

/** Returns the replacement of one value of `field`; `undefined` if the serializer sends the value, or rejects it with an error. */
export function replacedValue(value: unknown, field: Field): ReplacedValue | undefined {
  const { kind } = field;
  switch (kind) {
    case 'string': {
      if (expectedScalar(value, kind) === undefined) return undefined;
      // Objects with a meaningful string form, such as dates and database ids, are not reported.
      const sent = String(value);
      return sent.startsWith('[object ') ? { expected: 'a string', sent } : undefined;
    }
    case 'integer':
    case 'float':
      if (expectedScalar(value, kind) === undefined) return undefined;
      return { expected: 'a number', sent: kind === 'integer' ? 0 : NaN };
    case 'long':
      return replacedLong(value);
    case 'boolean': {
      // Strings that mean false are sent as true, as is a Buffer of zeros, which database drivers return for false in a BIT(1) column.
      // Other strings, such as 'yes', are sent as true, as intended.
      const isFalse =
        typeof value === 'string'
          ? /^(false|no|off|0)$/i.test(value)
          : value instanceof Uint8Array && !value.some(Boolean);
      return isFalse ? { expected: 'a boolean', sent: true } : undefined;
    }
    case 'bytes':
      // Values with a length are not reported, because the serializer sends them as bytes; it decodes strings as base64.
      if ((value as ArrayLike<unknown>).length >= 0) return undefined;
      return { expected: 'a Buffer', sent: undefined };
    case 'enum':
      return replacedEnumValue(value, field);
    case 'message':
      if (!isLostMessage(value, field.type)) return undefined;
      return {
        expected: `an object with ${listed([...field.type.fields.keys()])}`,
        remedy: remedyOfLost(value),
        sent: {},
      };
    case 'other':
      return undefined;
  }
}

function replacedLong(value: unknown): ReplacedValue | undefined {
  const isLong =
    typeof value === 'object' && value !== null
      ? 'low' in value || 'high' in value
      : typeof value === 'bigint' || /^[+-]?\d+(\.\d+)?$/.test(String(value).trim());
  if (isLong) return undefined;
  // The serializer parses a string up to the first character that is not part of an integer.
  return { expected: 'an integer', sent: typeof value === 'string' ? parseInt(value, 10) || 0 : 0 };
}

function replacedEnumValue(value: unknown, field: Field & { kind: 'enum' }): ReplacedValue | undefined {
  const { name, values, holds } = field;
  if (typeof value === 'number' || (typeof value === 'string' && values.includes(value))) return undefined;
  const meant = typeof value === 'string' ? closest(value, values) : undefined;
  const remedy = meant === undefined ? `its values are ${listed(values)}` : `write '${meant}'`;
  return { expected: `a value of ${name}`, remedy, sent: holds === 'list' ? 0 : undefined };
}

/**
 * True if the object `value` was probably passed by mistake: a Promise or an Observable, or an object that the serializer reads as an empty
 * message of `type`. For a well-known type (Timestamp, a wrapper, Struct), any object without a field of the type is a mistake, except
 * `{}`. For other types, only a built-in object such as a Map is a mistake, because an empty plain object or class instance may be
 * intended.
 */
function isLostMessage(value: unknown, type: MessageType): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const fields = [...type.fields.keys()];
  if (fields.length === 0) return false;
  if (isUnresolved(value)) return true;
  const isPlain = isPlainObject(value);
  const isWellKnown = type.fullName.startsWith('google.protobuf.') && !(isPlain && Object.keys(value).length === 0);
  if (!isWellKnown && (isPlain || !isBuiltIn(value))) return false;
  return !fields.some((field) => field in value);
}

function isBuiltIn(value: object): boolean {
  return [Array, Map, Set, Date].some((type) => value instanceof type) || ArrayBuffer.isView(value);
}

/** True if `value` is a Promise, another object with a `then` method, or an Observable. */
export function isUnresolved(value: unknown): boolean {
  return isThenable(value) || isObservableLike(value);
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

function remedyOfLost(value: unknown): string | undefined {
  if (isObservableLike(value)) return 'pass a message that it emits';
  return isThenable(value) ? 'await it first' : undefined;
}

function listed(names: readonly string[]): string {
  return truncate(names.map((name) => `'${name}'`).join(', '), MAX_LIST_LENGTH);
}
