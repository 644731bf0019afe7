import { escapeControls, maskAddress, maskCredentials } from '../../errors/error-message.js';

const MAX_VALUE_LENGTH = 60;
const MAX_KEY_LENGTH = 200;

/** Describes `value` for a message: truncated, on one line. Objects show only their keys, because their values may be secrets. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return quote(maskAndTruncate(value));
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value);
  if (typeof value === 'bigint') return `${String(value)}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  const name = builtInName(value);
  if (name !== undefined) return name;
  const keys = Object.keys(value).slice(0, MAX_VALUE_LENGTH).join(', ');
  return keys === '' ? 'an empty object' : `an object with ${escapeControls(maskAndTruncate(keys))}`;
}

/** Describes data such as a cursor, an id, or a thrown value. Objects with contents are shown as JSON. */
export function describeData(value: unknown): string {
  if (typeof value === 'symbol') return String(value);
  if (typeof value !== 'object' || value === null || value instanceof Promise) return describeValue(value);
  try {
    // The type of JSON.stringify() hides that `toJSON` may return undefined.
    const json = JSON.stringify(value) as string | undefined;
    if (json === '{}') return 'an empty object';
    if (json !== undefined) return escapeControls(truncate(maskCredentials(json)));
  } catch {
    // The value has a cycle, a bigint, or a getter that throws.
  }
  return 'an object that cannot be serialized as JSON';
}

/** Describes `value` without the contents of strings and objects, which may be secrets. */
export function describeSecret(value: unknown): string {
  if (typeof value === 'string') return `a string of length ${String(value.length)}`;
  const isObject = typeof value === 'object' && value !== null;
  // The keys of an object may be secrets, too.
  return isObject ? (builtInName(value) ?? 'an object') : describeValue(value);
}

/** Describes an array, a Buffer, or an object of a well-known class; `undefined` for other objects. */
function builtInName(value: object): string | undefined {
  if (ArrayBuffer.isView(value)) return `a Buffer of length ${String(value.byteLength)}`;
  if (Array.isArray(value)) return `an array of length ${String(value.length)}`;
  if (value instanceof Promise) return 'a Promise';
  if (value instanceof Map) return 'a Map';
  if (value instanceof Set) return 'a Set';
  if (value instanceof Date) return 'a Date';
  return isObservableLike(value) ? 'an Observable' : undefined;
}

/** True if `value` looks like an RxJS Observable. Reads no property of a plain object, because its getters can throw. */
export function isObservableLike(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || isPlainObject(value)) return false;
  try {
    const { subscribe, pipe } = value as { readonly subscribe?: unknown; readonly pipe?: unknown };
    return typeof subscribe === 'function' && typeof pipe === 'function';
  } catch {
    return false;
  }
}

/** Truncates `text` to `maxLength` characters, and marks the cut with an ellipsis. */
export function truncate(text: string, maxLength = MAX_VALUE_LENGTH): string {
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

/** Returns `text` as a JSON string in which all control characters are escaped. JSON.stringify() escapes only some of them. */
function quote(text: string): string {
  return escapeControls(JSON.stringify(text));
}

function maskAndTruncate(text: string): string {
  return text.length > MAX_VALUE_LENGTH ? `${maskAddress(text.slice(0, MAX_VALUE_LENGTH), true)}…` : maskAddress(text);
}

/** Returns the message for an invalid value: 'expected …, got …; write …'. */
export function problemMessage(expected: string, value: unknown, remedy?: string, describe = describeValue): string {
  return `expected ${expected}, got ${describe(value)}${remedy === undefined ? '' : `; ${remedy}`}`;
}

/** Returns the path of `key` below `path`. A key that is long or has unusual characters is put in brackets. A long key is truncated. */
export function pathOf(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${String(key)}]`;
  if (key.length > MAX_KEY_LENGTH || !/^[A-Za-z_$][\w$-]*$/.test(key)) {
    return `${path}[${quote(truncate(key, MAX_KEY_LENGTH))}]`;
  }
  return path === '' ? key : `${path}.${key}`;
}

/** True if `value` is a plain object from any realm, or an object without a prototype. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Returns `value` without the keys whose values are `undefined`. */
export function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  // The remaining entries are a subset of T.
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
