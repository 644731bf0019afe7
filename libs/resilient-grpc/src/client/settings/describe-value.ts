import { maskAddress } from '../../errors/mask-credentials.js';

const MAX_VALUE_LENGTH = 60;
const MAX_KEY_LENGTH = 200;

/** Describes `value` for a message: truncated, on one line. Objects show only their keys, because their values may be secrets. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(cut(value));
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value);
  if (typeof value === 'bigint') return `${String(value)}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  if (Buffer.isBuffer(value)) return `a Buffer of ${String(value.length)} bytes`;
  if (Array.isArray(value)) return `an array of length ${String(value.length)}`;
  if (value instanceof Promise) return 'a Promise';
  const keys = Object.keys(value).slice(0, MAX_VALUE_LENGTH).join(', ');
  return keys === '' ? 'an empty object' : `an object with ${cut(keys)}`;
}

/** Truncates text and removes credentials. */
function cut(text: string): string {
  return text.length > MAX_VALUE_LENGTH ? `${maskAddress(text.slice(0, MAX_VALUE_LENGTH), true)}…` : maskAddress(text);
}

/** Describes `value` without revealing anything that could be a secret. */
export function describeSecret(value: unknown): string {
  if (typeof value === 'string') return `a string of ${String(value.length)} characters`;
  return typeof value === 'object' && value !== null && !Buffer.isBuffer(value) && !Array.isArray(value)
    ? 'an object'
    : describeValue(value);
}

/** Returns the path of `key` below `path`. A key that is not an identifier is put in brackets; a long one is truncated. */
export function pathOf(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${String(key)}]`;
  const isShort = key.length <= MAX_KEY_LENGTH;
  if (isShort && /^[A-Za-z_$][\w$-]*$/.test(key)) return `${path}.${key}`;
  return `${path}[${JSON.stringify(isShort ? key : `${key.slice(0, MAX_KEY_LENGTH)}…`)}]`;
}
