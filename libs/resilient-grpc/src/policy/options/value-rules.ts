import { closest } from '../../errors/closest.js';
import { problemMessage } from './describe-value.js';

// Rules for option values, written without valibot because `operators/` must load no package except RxJS. option-schemas.ts also uses them.

/** Maximum number of entries in a list or an object. Limited, because an external document must not take seconds to read. */
export const MAX_ENTRIES = 1_000;

/** Minimum for values that must be above 0. */
export const POSITIVE = Number.MIN_VALUE;

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
  return typeof value === 'number' && isValid(value) ? undefined : problemMessage(expected, value);
}

/** Returns the message for a value that `values` does not contain; `undefined` for a valid one. */
export function choiceProblem(value: unknown, values: readonly string[]): string | undefined {
  return values.some((choice) => choice === value) ? undefined : problemMessage(choiceText(values), value);
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

/** Returns the message for an option that is not in `known`. */
export function unknownOptionMessage(key: string, known: readonly string[]): string {
  const meant = closest(key, known);
  return meant === undefined ? 'unknown option' : `unknown option; did you mean '${meant}'?`;
}
