import * as v from 'valibot';
import { closest } from '../../errors/closest.js';
import { MAX_TIMER_MS } from '../../time/max-timer-ms.js';

// Schemas of option values. Each message states what is expected, such as 'a number above 0', and optionally the remedy after '; '.
// option-problems.ts adds "expected" before it and the actual value before the remedy. The message of a `rule` is complete.

/** Schema whose output is `T`. */
export type Schema<T> = v.GenericSchema<unknown, T>;

/** Remedies by unknown key, for keys that are more than a typo. */
export type KeyRemedies = Readonly<Record<string, string>>;

/** Minimum for values that must be above 0. */
export const POSITIVE = Number.MIN_VALUE;

/** Maximum number of entries of a list, because an external document must not take seconds to read. */
const MAX_ENTRIES = 1_000;

/** An object whose other keys are ignored. A missing key is parsed as `undefined`, so that the problem names the key. */
export function openObject<const E extends v.ObjectEntries>(entries: E, expected: string) {
  const required = Object.keys(entries).filter((key) => !OPTIONAL.has(entries[key]?.type ?? ''));
  const absent = Object.fromEntries(required.map((key) => [key, undefined]));
  return v.pipe(
    v.custom<object>(isObject, expected),
    v.transform((value) => ({ ...absent, ...value })),
    v.looseObject(entries),
  );
}

const OPTIONAL: ReadonlySet<string> = new Set(['optional', 'exact_optional']);

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object that rejects unknown keys, each with a remedy. */
export function object<const E extends v.ObjectEntries>(entries: E, expected: string, remedies: KeyRemedies = {}) {
  const known = Object.keys(entries);
  return v.pipe(
    openObject(entries, expected),
    v.rawCheck(({ dataset, addIssue }) => {
      const { value } = dataset;
      if (!isObject(value)) return;
      for (const key of Object.keys(value)
        .filter((one) => !Object.hasOwn(entries, one))
        .slice(0, MAX_ENTRIES)) {
        const message = `unknown key; ${remedyForKey(key, known, remedies)}`;
        addIssue({
          message,
          expected: KNOWN_KEY,
          path: [pathItem(key)],
        });
      }
    }),
  );
}

const KNOWN_KEY = 'a known key';

/** True for the issue of an unknown key. */
export function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.expected === KNOWN_KEY;
}

function remedyForKey(key: string, known: readonly string[], remedies: KeyRemedies): string {
  const remedy = Object.hasOwn(remedies, key) ? remedies[key] : undefined;
  if (remedy !== undefined) return remedy;
  const meant = closest(key, known);
  return meant === undefined ? `known keys: ${known.join(', ')}` : `did you mean '${meant}'?`;
}

/** An object of a JSON document that rejects unknown keys. A key whose value is null is absent, as in proto3 JSON. */
export function jsonObject<const E extends v.ObjectEntries>(entries: E, expected: string, remedies: KeyRemedies = {}) {
  return v.pipe(v.unknown(), v.transform(withoutNulls), object(entries, expected, remedies));
}

function withoutNulls(value: unknown): unknown {
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null && one !== undefined));
}

/** A list of at most 1000 entries. */
export function list<const S extends v.GenericSchema>(entry: S, expected: string) {
  return v.pipe(
    v.custom<unknown[]>((value) => Array.isArray(value), expected),
    v.maxLength(MAX_ENTRIES, `at most ${String(MAX_ENTRIES)} entries`),
    v.array(entry),
  );
}

/** A check that returns a complete message. It also runs if the value is invalid. */
export function rule<T>(messageFor: (value: unknown) => string | undefined): v.RawCheckAction<T> {
  return v.rawCheck<T>(({ dataset, addIssue }) => {
    const message = messageFor(dataset.value);
    if (message !== undefined) addIssue({ message });
  });
}

/** A check of an object, whose message belongs to `key`. It also runs if values of the object are invalid. */
export function ruleOf<T>(key: string, messageFor: (value: object) => string | undefined): v.RawCheckAction<T> {
  return v.rawCheck<T>(({ dataset: { value }, addIssue }) => {
    const message = isObject(value) ? messageFor(value) : undefined;
    if (message !== undefined) addIssue({ message, path: [pathItem(key)] });
  });
}

function pathItem(key: string): v.ObjectPathItem {
  return { type: 'object', origin: 'value', input: {}, key, value: undefined };
}

/** A value that `convert` can convert; it returns `undefined` for any other. `suggest` returns the value to write instead. */
export function converted<T>(
  expected: string,
  convert: (value: unknown) => T | undefined,
  suggest: (value: unknown) => string | undefined = () => undefined,
) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset: { value }, addIssue, NEVER }) => {
      const result = convert(value);
      if (result !== undefined) return result;
      const suggestion = suggest(value);
      addIssue({ message: suggestion === undefined ? expected : `${expected}; write ${suggestion}` });
      return NEVER;
    }),
  );
}

/** One of `values`. */
export function oneOf<const T extends string>(...values: readonly T[]) {
  const quoted = values.map((value) => `'${value}'`);
  return v.picklist(values, `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1) ?? ''}`);
}

/** A duration in milliseconds of `least` or more, for an option with a default. `instead`: what to write for no limit. */
export function milliseconds(least: number, instead = ''): Schema<number> {
  const expected = millisecondsText(least);
  const tooLong = `${expected}, at most ${String(MAX_TIMER_MS)} (24 days)${instead}`;
  return v.pipe(v.number(expected), v.maxValue(MAX_TIMER_MS, tooLong), v.minValue(least, expected));
}

/** A duration in milliseconds of `least` or more, for an option without a default. A duration above a timer's maximum means no limit. */
export function millisecondsOrNone(least: number): Schema<number> {
  const expected = millisecondsText(least);
  const withExample = ({ input }: { readonly input: unknown }) =>
    least === POSITIVE && typeof input === 'number' ? `${expected}; write 500` : expected;
  return v.pipe(
    v.number(withExample),
    v.finite(`${expected}, or undefined for no limit`),
    v.minValue(least, withExample),
  );
}

/** A duration in milliseconds of `least` or more, or `Infinity`, whose meaning is `never`: 'for no warning'. */
export function millisecondsOrNever(least: number, never?: string): Schema<number> {
  const expected = `${millisecondsText(least)}${never === undefined ? '' : `, or Infinity ${never}`}`;
  return v.pipe(v.number(expected), v.minValue(least, expected));
}

function millisecondsText(least: number): string {
  return `a number of milliseconds ${least === POSITIVE ? 'above 0' : `of ${String(least)} or more`}`;
}

/** A number for which `isValid` returns true. */
export function numberWhere(expected: string, isValid: (value: number) => boolean): Schema<number> {
  return v.pipe(v.number(expected), v.check(isValid, expected));
}

/** An integer of `least` or more, and of `most` or less. */
export function integer(least: number, most = Infinity): Schema<number> {
  const range = most === Infinity ? `of ${String(least)} or more` : `from ${String(least)} to ${String(most)}`;
  return numberWhere(`an integer ${range}`, (value) => Number.isInteger(value) && value >= least && value <= most);
}

export const positive = numberWhere('a number above 0', (value) => Number.isFinite(value) && value > 0);

export const flag = v.boolean('true or false');

/** Maximum message size in bytes; −1 means no limit. */
export const bytes = numberWhere(
  'a whole number of bytes, or -1 for no limit',
  (value) => Number.isInteger(value) && value >= -1,
);

export const onDrain = oneOf('finish', 'complete', 'fail');
