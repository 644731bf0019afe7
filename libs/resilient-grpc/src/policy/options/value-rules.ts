import { closest } from '../../errors/closest.js';
import { problemMessage } from './describe-value.js';

// Rules for option values, written without valibot because `operators/` must load no package except RxJS. option-schemas.ts also uses them.

/** Remedies by unknown key, for keys that are not typos. */
export type KeyRemedies = Readonly<Record<string, string>>;

/** Returns the same remedy for each of `keys`. */
export function sameRemedy(keys: readonly string[], remedy: string): KeyRemedies {
  return Object.fromEntries(keys.map((key) => [key, remedy]));
}

/** Maximum number of entries in a list or an object. Limited, because an external document must not take seconds to read. */
export const MAX_ENTRIES = 1_000;

/** Minimum for values that must be above 0. */
export const POSITIVE = Number.MIN_VALUE;

/** A problem with the value at `keys` of an object. */
export interface NestedProblem {
  readonly keys: readonly [string, ...(string | number)[]];
  /** Complete message, such as 'expected …, got …; write …'. */
  readonly message: string;
}

/** Numbers that an option accepts. */
export interface NumberRule {
  /** Description of the valid numbers, such as 'an integer of 1 or more'. */
  readonly expected: string;
  readonly isValid: (value: number) => boolean;
}

/** An integer of at least `min` and at most `max`. */
export function integerRule(min: number, max = Infinity): NumberRule {
  const range = max === Infinity ? `of ${String(min)} or more` : `from ${String(min)} to ${String(max)}`;
  return {
    expected: `an integer ${range}`,
    isValid: (value) => Number.isInteger(value) && value >= min && value <= max,
  };
}

export const POSITIVE_RULE: NumberRule = {
  expected: 'a number above 0',
  isValid: (value) => Number.isFinite(value) && value > 0,
};

/** A duration in milliseconds of `min` or more, or `Infinity`. */
export function millisecondsRule(min: number): NumberRule {
  return {
    expected: `a number of milliseconds${min === POSITIVE ? ' above 0' : `, ${String(min)} or more`}`,
    isValid: (value) => value >= min,
  };
}

/** Returns the message for a value that violates the rule; `undefined` for a valid one. */
export function numberProblem(value: unknown, { expected, isValid }: NumberRule): string | undefined {
  if (typeof value === 'number' && isValid(value)) return undefined;
  return problemMessage(expected, value, numberRemedy(value, isValid));
}

/** Returns the message for a value that `values` does not contain; `undefined` for a valid one. */
export function choiceProblem(value: unknown, values: readonly string[]): string | undefined {
  if (values.some((choice) => choice === value)) return undefined;
  return problemMessage(choiceText(values), value, choiceRemedy(value, values));
}

/** Returns the remedy for a misspelled choice; `undefined` if no choice is close to `value`. */
export function choiceRemedy(value: unknown, values: readonly string[]): string | undefined {
  const meant = typeof value === 'string' ? closest(value, values) : undefined;
  return meant === undefined ? undefined : `did you mean '${meant}'?`;
}

/** Describes a choice of values: "'a', 'b', or 'c'". */
export function choiceText(values: readonly string[]): string {
  const quoted = values.map((value) => `'${value}'`);
  return `${quoted.slice(0, -1).join(', ')}${quoted.length > 2 ? ',' : ''} or ${quoted.at(-1) ?? ''}`;
}

/** Returns the message for a value that is not a function; `undefined` for a function. */
export function functionProblem(value: unknown): string | undefined {
  return typeof value === 'function' ? undefined : problemMessage('a function', value);
}

/** Returns the message for a key that is not in `known`. */
export function unknownKeyMessage(key: string, known: readonly string[], remedies: KeyRemedies): string {
  const remedy = Object.hasOwn(remedies, key) ? remedies[key] : undefined;
  const meant = remedy === undefined ? closest(key, known) : undefined;
  return `unknown key; ${remedy ?? (meant === undefined ? `known keys: ${known.join(', ')}` : `did you mean '${meant}'?`)}`;
}

/** Returns the remedy for a number written as a string; `undefined` for any other value, or if `isValid` rejects the number. */
export function numberRemedy(value: unknown, isValid: (number: number) => boolean): string | undefined {
  const number = writtenNumber(value);
  if (number === undefined || !isValid(number)) return undefined;
  return `write ${Number.isFinite(Number(value)) ? 'the number ' : ''}${String(number)}`;
}

/** Returns the number in a string: 5 for '5', 10000 (milliseconds) for '10s'; `undefined` for any other value. */
export function writtenNumber(value: unknown): number | undefined {
  if (typeof value !== 'string' || value.trim() === '') return undefined;
  if (Number.isFinite(Number(value))) return Number(value);
  const [, amount, unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*$/i.exec(value) ?? [];
  const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit.toLowerCase()] ?? 1;
  // Rounded, because products such as 1.001 × 1,000 are inexact.
  return amount === undefined ? undefined : Number((Number(amount) * unitMs).toFixed(3));
}
