import * as v from 'valibot';
import { closest } from '../../errors/closest.js';
import { parseStatusCode, type StatusCode } from '../../status/status-code.js';
import { MAX_TIMER_MS } from '../../time/clock.js';
import { concurrencyPolicy, type ConcurrencyPolicy, type MaxConcurrentCalls } from '../concurrency/permit-queue.js';

// Schemas of option values. option-problems.ts formats their issues. A message given here states the expected value; messages of `rule` and
// `rulesOf` are complete.

export type Schema<T> = v.GenericSchema<unknown, T>;

/** An object with the keys of `entries`; other keys are kept unchecked. */
export function openObject<const E extends v.ObjectEntries>(entries: E) {
  return v.pipe(v.custom<object>(isObject, 'an object'), v.looseObject(entries));
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object that rejects each unknown key. */
export function object<const E extends v.ObjectEntries>(entries: E) {
  return v.pipe(
    openObject(entries),
    rulesOf((value) =>
      Object.fromEntries(
        Object.keys(value)
          .filter((key) => !Object.hasOwn(entries, key))
          .map((key) => [key, unknownOption(key, Object.keys(entries))]),
      ),
    ),
  );
}

export function unknownOption(key: string, known: readonly string[]): string {
  const meant = closest(key, known);
  return meant === undefined ? UNKNOWN_OPTION : `${UNKNOWN_OPTION}; did you mean '${meant}'?`;
}

export const UNKNOWN_OPTION = 'unknown option';

/** An object in a JSON document; unknown keys are rejected. A key whose value is null counts as absent, as in proto3 JSON. */
export function jsonObject<const E extends v.ObjectEntries>(entries: E) {
  return v.pipe(v.unknown(), v.transform(withoutNulls), object(entries));
}

export function withoutNulls(value: unknown): unknown {
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== null && entry !== undefined));
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
      if (message !== undefined)
        addIssue({ message, path: [{ type: 'unknown', origin: 'value', input: value, key, value: undefined }] });
  });
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

export const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));

/** A duration in milliseconds of 0 or more, or `Infinity`. */
export const milliseconds = v.pipe(v.number(), v.minValue(0));

/** A duration in milliseconds from `min` to the maximum of a timer (24 days), for an option with a default. */
export function timerMilliseconds(min: number): Schema<number> {
  return v.pipe(v.number(), v.maxValue(MAX_TIMER_MS), v.minValue(min));
}

/** A duration in milliseconds above 0, at most the maximum of a timer. */
export const positiveMilliseconds = v.pipe(v.number(), v.gtValue(0), v.maxValue(MAX_TIMER_MS));

/** A duration in milliseconds of `min` or more, for an option without a default. A duration above a timer's maximum means no limit. */
export function millisecondsOrNone(min: number): Schema<number> {
  return v.pipe(v.number(), v.finite('a finite number, or undefined for no limit'), v.minValue(min));
}

/** A duration in milliseconds above 0, or `Infinity`. */
export const millisecondsOrNever = v.pipe(v.number(), v.gtValue(0));

/** A timeout in milliseconds. `Infinity` becomes `undefined`: no limit, even if a less specific setting has a timeout. */
export const timeout: Schema<number | undefined> = v.pipe(
  millisecondsOrNever,
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

/** An integer of at least `min` and at most `max`. */
export function integer(min: number, max = Number.MAX_VALUE): Schema<number> {
  return v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max));
}

export const flag = v.boolean();

/** Maximum message size in bytes; −1 means no limit. */
export const bytes = integer(-1);

/** A list of at least `minCount` status codes, each a number or a case-insensitive name. */
export function statusCodes(minCount: 0 | 1) {
  return v.pipe(
    v.array(converted('the name of a status code or a number from 0 to 16', parseStatusCode)),
    v.minLength(minCount),
    v.transform((codes): ReadonlySet<StatusCode> => new Set(codes)),
  );
}

// proto3 JSON: seconds with up to nine decimals, followed by 's'.
const DURATION = /^(-?)(\d{1,12}(?:\.\d{1,9})?)s$/;
/**
 * A Duration in proto3 JSON ("0.5s") or in grpc-js's form (`{ seconds, nanos }`), converted to milliseconds. It must be above 0, or at
 * least 0 if `allowsZero` is true. The service config parser of grpc-js is not used because it reads a timeout of "0.5s" as 5 nanoseconds.
 */
export function duration(allowsZero = false): Schema<number> {
  return converted(
    `a duration ${allowsZero ? 'of 0 or more' : 'above 0'}, in seconds as a string such as "0.5s"`,
    (value) => {
      const match = DURATION.exec(textOf(value) ?? '');
      const ms = match && match[1] === '' ? toMs(match[2] ?? '') : undefined;
      return ms !== undefined && (ms > 0 || allowsZero) ? ms : undefined;
    },
  );
}

/** Returns a duration as a string; `undefined` for a value that is neither a string nor in grpc-js's form. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null || !('seconds' in value)) return undefined;
  const nanos = 'nanos' in value ? Number(value.nanos) : 0;
  return `${(Number(value.seconds) + nanos / 1e9).toFixed(9)}s`;
}

// Shifts the decimal point in the text, because 0.07 × 1000 is 70.00000000000001.
function toMs(seconds: string): number {
  const [whole = '0', fraction = ''] = seconds.split('.');
  const shifted = fraction.padEnd(3, '0');
  return Number(`${whole}${shifted.slice(0, 3)}.${shifted.slice(3)}`);
}

const limit = v.custom<number | 'adaptive'>(
  (value) => value === 'adaptive' || (Number.isInteger(value) && Number(value) > 0),
  "an integer of 1 or more, or 'adaptive'",
);
const limitWithQueue = object({ max: limit, queue: v.optional(integer(0)) });
const noLimit = v.literal(false);

/** The option `maxConcurrentCalls`; `undefined` means no limit. */
export const maxConcurrentCalls: Schema<ConcurrencyPolicy | undefined> = v.pipe(
  v.lazy((value): Schema<MaxConcurrentCalls | false> => {
    if (value === false) return noLimit;
    return isObject(value) ? limitWithQueue : limit;
  }),
  v.transform((limits) => concurrencyPolicy(limits)),
);

export const onDrain = v.picklist(['finish', 'complete', 'fail']);
