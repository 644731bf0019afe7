import * as v from 'valibot';
import { concurrencyPolicy, type ConcurrencyPolicy, type MaxConcurrentCalls } from '../concurrency/permit-queue.js';
import { MAX_TIMER_MS } from '../../time/clock.js';
import {
  choiceText,
  integerRule,
  MAX_ENTRIES,
  millisecondsRule,
  POSITIVE,
  POSITIVE_RULE,
  type NumberRule,
} from './value-rules.js';

// Schemas of option values. Each message states the expected value, such as 'a number above 0'; option-problems.ts adds the actual value.
// Messages of `rule` and `ruleOf` are complete.

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

/** An object that rejects each unknown key. */
export function object<const E extends v.ObjectEntries>(entries: E, expected: string) {
  const known = Object.keys(entries);
  return v.pipe(
    openObject(entries, expected),
    v.rawCheck(({ dataset: { value }, addIssue }) => {
      if (!isObject(value)) return;
      const unknown = Object.keys(value).filter((key) => !Object.hasOwn(entries, key));
      for (const key of unknown.slice(0, MAX_ENTRIES)) addIssue({ path: [pathItem(key, known)] });
    }),
  );
}

/** A key that must be absent, because the option belongs in another place, such as 'in forRoot()'. */
export function misplaced(place: string) {
  return v.optional(v.never(`this option ${place}`));
}

/** Returns the unknown key that is the problem, and the known ones; `undefined` for another problem. */
export function unknownOptionOf({ path }: v.BaseIssue<unknown>) {
  const item = path?.at(-1);
  return item?.origin === 'key' ? { key: String(item.key), known: item.input as readonly string[] } : undefined;
}

/** An object in a JSON document; unknown keys are rejected. A key whose value is null counts as absent, as in proto3 JSON. */
export function jsonObject<const E extends v.ObjectEntries>(entries: E, expected: string) {
  return v.pipe(v.unknown(), v.transform(withoutNulls), object(entries, expected));
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

/** A check that returns complete messages about values of an object, by key. It also runs if values of the object are invalid. */
export function rulesOf<T>(
  messagesFor: (value: object) => Readonly<Record<string, string | undefined>>,
): v.RawCheckAction<T> {
  return v.rawCheck<T>(({ dataset: { value }, addIssue }) => {
    for (const [key, message] of isObject(value) ? Object.entries(messagesFor(value)) : [])
      if (message !== undefined) addIssue({ message, path: [pathItem(key)] });
  });
}

/** @param known the known keys, if `key` is unknown */
function pathItem(key: string, known?: readonly string[]): v.UnknownPathItem {
  return { type: 'unknown', origin: known === undefined ? 'value' : 'key', input: known ?? {}, key, value: undefined };
}

/** A value that `convert` can convert. `convert` returns `undefined` for any other value. */
export function converted<T>(expected: string, convert: (value: unknown) => T | undefined) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset: { value }, addIssue, NEVER }) => {
      const result = convert(value);
      if (result !== undefined) return result;
      addIssue({ message: expected });
      return NEVER;
    }),
  );
}

/** One of `values`. */
export function oneOf<const T extends string>(values: readonly T[]) {
  return v.picklist(values, choiceText(values));
}

/** A duration in milliseconds from `min` to the maximum of a timer, for an option with a default. */
export function milliseconds(min: number): Schema<number> {
  const { expected } = millisecondsRule(min);
  const tooLong = `${expected}, at most ${String(MAX_TIMER_MS)} (24 days)`;
  return v.pipe(v.number(expected), v.maxValue(MAX_TIMER_MS, tooLong), v.minValue(min, expected));
}

/** A duration in milliseconds of `min` or more, for an option without a default. A duration above a timer's maximum means no limit. */
export function millisecondsOrNone(min: number): Schema<number> {
  const { expected } = millisecondsRule(min);
  return v.pipe(v.number(expected), v.finite(`${expected}, or undefined for no limit`), v.minValue(min, expected));
}

const TIMEOUT = `${millisecondsRule(POSITIVE).expected}, or Infinity for no limit`;

/**
 * A timeout in milliseconds, more than 0. `Infinity` becomes `undefined`, which means no limit, even if a less specific setting has a
 * timeout.
 */
export const timeout: Schema<number | undefined> = v.pipe(
  v.number(TIMEOUT),
  v.minValue(POSITIVE, TIMEOUT),
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

/** A duration in milliseconds of `min` or more, or `Infinity`. */
export function millisecondsOrNever(min: number): Schema<number> {
  const expected = `${millisecondsRule(min).expected}, or Infinity`;
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

const limit = (expected: string) =>
  v.custom<number | 'adaptive'>(
    (value) => value === 'adaptive' || (Number.isInteger(value) && Number(value) > 0),
    expected,
  );
const limitWithQueue = object(
  { max: limit("an integer of 1 or more, or 'adaptive'"), queue: v.optional(integer(0)) },
  'an object such as { max: 8, queue: 100 }',
);
const limitAlone = limit("an integer of 1 or more, 'adaptive', or an object such as { max: 8, queue: 100 }");
const noLimit = v.literal(false);

/** The option `maxConcurrentCalls`; `undefined` means no limit. */
export const maxConcurrentCalls: Schema<ConcurrencyPolicy | undefined> = v.pipe(
  v.lazy((value): Schema<MaxConcurrentCalls | false> => {
    if (value === false) return noLimit;
    return isObject(value) ? limitWithQueue : limitAlone;
  }),
  v.transform((limits) => concurrencyPolicy(limits)),
);

export const onDrain = oneOf(['finish', 'complete', 'fail']);
