import { at, type Problems } from './problem.js';

/** Maximum number of list entries, because an external document must not take seconds to read. */
const MAX_ENTRIES = 1_000;

/** JSON object whose values are not validated yet. */
export type Unread = Readonly<Record<string, unknown>>;

/** Returns `value` as an object; `undefined`, with a problem added, if it is not an object. */
export function readObject(value: unknown, path: string, problems: Problems, what = 'an object'): Unread | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    // The cast is safe: an object that is not an array, with values typed as unknown.
    return value as Unread;
  }
  problems.add(path, what, value);
  return undefined;
}

/** Returns `value` as a list; `undefined`, with a problem added, if it is not a list or is too long. */
export function readList(
  value: unknown,
  path: string,
  problems: Problems,
  what: string,
): readonly unknown[] | undefined {
  if (Array.isArray(value) && value.length > MAX_ENTRIES) {
    problems.say(path, `expected at most ${MAX_ENTRIES} entries, got ${value.length}`);
    return undefined;
  }
  // The cast is safe: the entries are typed as unknown.
  if (Array.isArray(value)) return value as readonly unknown[];
  problems.add(path, what, value);
  return undefined;
}

/** True if a value is present; null counts as absent in proto3 JSON. */
export function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** Adds a problem for each key that is not in `known`, with the intended key if it can be inferred. */
export function checkKeys(
  object: Unread,
  path: string,
  problems: Problems,
  known: readonly string[],
  instead: Readonly<Record<string, string>> = {},
): void {
  for (const key of Object.keys(object).slice(0, MAX_ENTRIES)) {
    if (known.includes(key) || !isPresent(object[key])) continue;
    const meant =
      (Object.hasOwn(instead, key) ? instead[key] : undefined) ?? known.find((name) => plain(name) === plain(key));
    const write = meant === undefined ? `one of ${known.join(', ')}` : meant;
    problems.say(at(path, key), `unknown key; write ${write}`);
  }
}

/** Returns `value` as an integer from `least` to `most`; `undefined`, with a problem added, if it is not one. */
export function readInteger(
  value: unknown,
  path: string,
  problems: Problems,
  least: number,
  most = Infinity,
): number | undefined {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  const range = most === Infinity ? `of ${least} or more` : `from ${least} to ${most}`;
  problems.add(path, `an integer ${range}`, value, meantNumber(value));
  return undefined;
}

/** Returns `value` as a number greater than 0; `undefined`, with a problem added, if it is not one. */
export function readPositive(value: unknown, path: string, problems: Problems): number | undefined {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  problems.add(path, 'a number greater than 0', value, meantNumber(value));
  return undefined;
}

/** Returns `value` as a boolean; `undefined`, with a problem added, if it is not one. */
export function readBoolean(value: unknown, path: string, problems: Problems): boolean | undefined {
  if (typeof value === 'boolean') return value;
  problems.add(path, 'true or false', value);
  return undefined;
}

/** Suggests the number without quotes if the quotes are the only mistake. */
function meantNumber(value: unknown): string | undefined {
  const isQuoted = typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value));
  return isQuoted ? `${Number(value)} without quotes` : undefined;
}

// Normalizes the spelling of a key: 'retry_policy' and 'RetryPolicy' match 'retryPolicy'.
function plain(key: string): string {
  return key.replace(/[_-]/g, '').toLowerCase();
}
