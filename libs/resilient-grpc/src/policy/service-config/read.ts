import { at, type Problems } from './problem.js';

/** Entries of a list: a document from outside must not take seconds to read. */
const MAX_ENTRIES = 1_000;

/** A JSON object whose values nobody has looked at yet. */
export type Unread = Readonly<Record<string, unknown>>;

/** `value` as an object; undefined, with a problem, when it is none. */
export function readObject(value: unknown, path: string, problems: Problems, what = 'an object'): Unread | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    // True: an object that is no array; what its keys hold is unknown and typed so.
    return value as Unread;
  }
  problems.add(path, what, value);
  return undefined;
}

/** `value` as a list; undefined, with a problem, when it is none. */
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
  // True: what its entries hold is unknown and typed so.
  if (Array.isArray(value)) return value as readonly unknown[];
  problems.add(path, what, value);
  return undefined;
}

/** Whether a key stands there at all; null is absent in proto3 JSON. */
export function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** A problem for each key that is not in `known`, with the key that was meant where it can be told. */
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
    problems.say(at(path, key), `is not a key of this object; write ${write}`);
  }
}

/** A whole number of `least` or more (and `most` at most); undefined, with a problem, when it is none. */
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

/** A number above 0; undefined, with a problem, when it is none. */
export function readPositive(value: unknown, path: string, problems: Problems): number | undefined {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  problems.add(path, 'a number greater than 0', value, meantNumber(value));
  return undefined;
}

/** true or false; undefined, with a problem, when it is neither. */
export function readBoolean(value: unknown, path: string, problems: Problems): boolean | undefined {
  if (typeof value === 'boolean') return value;
  problems.add(path, 'true or false', value);
  return undefined;
}

/** The number without its quotes, where that is all that is wrong. */
function meantNumber(value: unknown): string | undefined {
  const isQuoted = typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value));
  return isQuoted ? `${Number(value)} without quotes` : undefined;
}

// 'retry_policy' and 'RetryPolicy' are 'retryPolicy' written otherwise.
function plain(key: string): string {
  return key.replace(/[_-]/g, '').toLowerCase();
}
