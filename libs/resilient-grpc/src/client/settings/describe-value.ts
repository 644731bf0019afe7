import { maskAddress } from '../../errors/mask-credentials.js';

const LONGEST = 60;
const LONGEST_KEY = 200;

/** `value` as a message may show it: cut, on one line, objects by their keys only, since their values may be secrets. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(cut(value));
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value);
  if (typeof value === 'bigint') return `${String(value)}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  if (Buffer.isBuffer(value)) return `a Buffer of ${String(value.length)} bytes`;
  if (Array.isArray(value)) return `an array of ${String(value.length)}`;
  if (value instanceof Promise) return 'a Promise';
  const keys = Object.keys(value).slice(0, LONGEST).join(', ');
  return keys === '' ? 'an empty object' : `an object with ${cut(keys)}`;
}

/** The beginning of a text, without credentials. */
function cut(text: string): string {
  return text.length > LONGEST ? `${maskAddress(text.slice(0, LONGEST), true)}…` : maskAddress(text);
}

/** `value` without anything that could be a secret. */
export function describeSecret(value: unknown): string {
  if (typeof value === 'string') return `text of ${String(value.length)} characters`;
  return typeof value === 'object' && value !== null && !Buffer.isBuffer(value) && !Array.isArray(value)
    ? 'an object'
    : describeValue(value);
}

/** Path of `key` below `path`; what is no identifier stands in brackets, and a long one is cut. */
export function pathOf(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${String(key)}]`;
  const isShort = key.length <= LONGEST_KEY;
  if (isShort && /^[A-Za-z_$][\w$-]*$/.test(key)) return `${path}.${key}`;
  return `${path}[${JSON.stringify(isShort ? key : `${key.slice(0, LONGEST_KEY)}…`)}]`;
}
