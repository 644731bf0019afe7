import * as v from 'valibot';
import { MAX_TIMER_MS } from '../../time/clock.js';
import {
  choiceRemedy,
  choiceText,
  integerRule,
  MAX_ENTRIES,
  millisecondsRule,
  POSITIVE,
  POSITIVE_RULE,
  unknownKeyMessage,
  type KeyRemedies,
  type NestedProblem,
  type NumberRule,
} from './value-rules.js';

// Schemas of option values. Each message states the expected value, such as 'a number above 0', and optionally the remedy after '; '.
// option-problems.ts adds "expected" before it and the actual value before the remedy. Messages of raw checks such as `rule` are complete.

/** Functions that build the messages that are not built yet, by issue. */
const UNBUILT = new WeakMap<v.BaseIssue<unknown>, () => string>();

/**
 * Returns a message that is built when its problem is listed. A document can have tens of thousands of problems, of which 100 are listed,
 * and a remedy may require a search for the closest name.
 */
function lazyMessage<I extends v.BaseIssue<unknown>>(build: (issue: I) => string): (issue: I) => string {
  return (issue) => {
    UNBUILT.set(issue, () => build(issue));
    return '';
  };
}

/** Returns the message of an issue. */
export function messageOf(issue: v.BaseIssue<unknown>): string {
  return UNBUILT.get(issue)?.() ?? issue.message;
}

/** Schema whose output is `T`. */
export type Schema<T> = v.GenericSchema<unknown, T>;

/**
 * An object with the keys of `entries`; other keys are kept unchecked. A missing required key is parsed as `undefined`, so that the
 * problem names the key.
 */
export function openObject<const E extends v.ObjectEntries>(entries: E, expected: string) {
  const required = Object.keys(entries).filter((key) => !OPTIONAL.has(entries[key]?.type ?? ''));
  return v.pipe(
    v.custom<object>(isObject, expected),
    v.transform((value) => {
      const absent = required.filter((key) => !(key in value));
      // `value` is spread first: V8 takes 100 ms to add 1,000 keys of `value` to an object that has the absent keys.
      return absent.length === 0 ? value : { ...value, ...Object.fromEntries(absent.map((key) => [key, undefined])) };
    }),
    v.looseObject(entries),
  );
}

const OPTIONAL: ReadonlySet<string> = new Set(['optional', 'exact_optional']);

/** True if the value is an object but not an array. */
export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * An object that rejects each unknown key with a remedy. An empty list counts as an empty object.
 * @param otherKeys keys that the caller removes and checks elsewhere; suggested for a misspelled key
 */
export function object<const E extends v.ObjectEntries>(
  entries: E,
  expected: string,
  remedies: KeyRemedies = {},
  otherKeys: readonly string[] = [],
) {
  const withoutEmptyList = v.transform((value) => (Array.isArray(value) && value.length === 0 ? {} : value));
  return v.pipe(v.unknown(), withoutEmptyList, openObject(entries, expected), knownKeys(entries, remedies, otherKeys));
}

/** An object in a JSON document; unknown keys are rejected. A key whose value is null counts as absent, as in proto3 JSON. */
export function jsonObject<const E extends v.ObjectEntries>(entries: E, expected: string, remedies: KeyRemedies = {}) {
  return v.pipe(v.unknown(), v.transform(withoutNulls), openObject(entries, expected), knownKeys(entries, remedies));
}

function knownKeys<T>(
  entries: v.ObjectEntries,
  remedies: KeyRemedies,
  otherKeys: readonly string[] = [],
): v.RawCheckAction<T> {
  const known = [...otherKeys, ...Object.keys(entries)];
  return v.rawCheck<T>(({ dataset: { value }, addIssue }) => {
    if (!isObject(value)) return;
    const unknown = Object.keys(value).filter((key) => !Object.hasOwn(entries, key));
    for (const key of unknown.slice(0, MAX_ENTRIES)) {
      addIssue({
        message: lazyMessage(() => unknownKeyMessage(key, known, remedies)),
        expected: KNOWN_KEY,
        path: [pathItem(key)],
      });
    }
  });
}

const KNOWN_KEY = 'a known key';

/** True if the issue is an unknown key. */
export function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.expected === KNOWN_KEY;
}

function withoutNulls(value: unknown): unknown {
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== null && entry !== undefined));
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

/** A check that returns complete messages about the values of an object. It also runs if values of the object are invalid. */
export function nestedProblems<T>(problemsOf: (value: object) => readonly NestedProblem[]): v.RawCheckAction<T> {
  return v.rawCheck<T>(({ dataset: { value }, addIssue }) => {
    for (const { keys, message } of isObject(value) ? problemsOf(value) : []) {
      const [first, ...others] = keys;
      addIssue({ message, path: [pathItem(first), ...others.map(pathItem)] });
    }
  });
}

/** A check that returns a complete message about an object, reported for `key`. It also runs if values of the object are invalid. */
export function ruleOf<T>(key: string, messageFor: (value: object) => string | undefined): v.RawCheckAction<T> {
  return nestedProblems((value) => {
    const message = messageFor(value);
    return message === undefined ? [] : [{ keys: [key], message }];
  });
}

function pathItem(key: string | number): v.UnknownPathItem {
  return { type: 'unknown', origin: 'value', input: {}, key, value: undefined };
}

/** A value that `convert` can convert. `convert` returns `undefined` for any other value. `suggest` returns the value to write instead. */
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
      const message = lazyMessage(() => {
        const suggestion = suggest(value);
        return withRemedy(expected, suggestion === undefined ? undefined : `write ${suggestion}`);
      });
      addIssue({ message });
      return NEVER;
    }),
  );
}

/** Returns the message of a schema: `expected`, followed by the remedy if there is one. */
export function withRemedy(expected: string, remedy: string | undefined): string {
  return remedy === undefined ? expected : `${expected}; ${remedy}`;
}

/** One of `values`, described by `expected`. */
export function oneOf<const T extends string>(values: readonly T[], expected = choiceText(values)) {
  return v.picklist(
    values,
    lazyMessage(({ input }) => withRemedy(expected, choiceRemedy(input, values))),
  );
}

/**
 * A duration in milliseconds from `min` to the maximum of a timer, for an option with a default. `noLimitHint` is appended to the message
 * for a value above the maximum.
 */
export function milliseconds(min: number, noLimitHint = ''): Schema<number> {
  const expected = millisecondsRule(min).expected;
  const tooLong = `${expected}, at most ${String(MAX_TIMER_MS)} (24 days)${noLimitHint}`;
  return v.pipe(v.number(expected), v.maxValue(MAX_TIMER_MS, tooLong), v.minValue(min, expected));
}

/** A duration in milliseconds of `min` or more, for an option without a default. A duration above a timer's maximum means no limit. */
export function millisecondsOrNone(min: number): Schema<number> {
  const { expected } = millisecondsRule(min);
  return v.pipe(v.number(expected), v.finite(`${expected}, or undefined for no limit`), v.minValue(min, expected));
}

const timeoutText = ({ input }: { readonly input: unknown }) =>
  withRemedy(
    millisecondsRule(POSITIVE).expected,
    typeof input === 'number' ? 'write 500, or Infinity for no limit' : undefined,
  );

/**
 * A timeout in milliseconds, more than 0. `Infinity` becomes `undefined`, which means no limit, even if a less specific setting has a
 * timeout.
 */
export const timeout: Schema<number | undefined> = v.pipe(
  v.number(timeoutText),
  v.minValue(POSITIVE, timeoutText),
  v.transform((ms) => (ms === Infinity ? undefined : ms)),
);

const off = v.pipe(
  v.literal(false),
  v.transform(() => undefined),
);

/** An option that `false` turns off, even if a less specific setting turns it on. `false` becomes `undefined`. */
export function orFalse<T>(schema: Schema<T>): Schema<T | undefined> {
  return v.lazy((value) => (value === false ? off : schema));
}

/** A duration in milliseconds of `min` or more, or `Infinity`. `never` states the meaning of `Infinity`, such as 'for no warning'. */
export function millisecondsOrNever(min: number, never?: string): Schema<number> {
  const expected = `${millisecondsRule(min).expected}${never === undefined ? '' : `, or Infinity ${never}`}`;
  return v.pipe(v.number(expected), v.minValue(min, expected));
}

/** A number that satisfies the rule. */
function numberBy({ expected, isValid }: NumberRule): Schema<number> {
  return v.pipe(v.number(expected), v.check(isValid, expected));
}

/** An integer of at least `min` and at most `max`. */
export function integer(min: number, max?: number): Schema<number> {
  return numberBy(integerRule(min, max));
}

export const positive = numberBy(POSITIVE_RULE);

export const flag = v.boolean('true or false');

/** Maximum message size in bytes; −1 means no limit. */
export const bytes = numberBy({
  expected: 'a whole number of bytes, or -1 for no limit',
  isValid: (value) => Number.isInteger(value) && value >= -1,
});

export const onDrain = oneOf(['finish', 'complete', 'fail']);
