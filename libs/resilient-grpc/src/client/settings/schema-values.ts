import * as v from 'valibot';
import { MAX_TIMER_MS } from '../../time/max-timer-ms.js';

// Schemas of option values, shared by clients and servers. Each message states what is expected; validate-options.ts adds "expected" before
// it and the actual value after it.

/** Makes a value optional. */
export const orUndefined = <S extends v.GenericSchema>(schema: S) => v.optional(schema);

/** Minimum for values that must be above 0. */
export const POSITIVE = Number.MIN_VALUE;

/** A duration in milliseconds of `least` or more, for an option with a default. `instead`: what to write for no limit. */
export function milliseconds(least: number, instead = ''): v.GenericSchema {
  const text = millisecondsText(least);
  const tooLong = `${text}, at most ${String(MAX_TIMER_MS)} (24 days)${instead}`;
  return v.pipe(v.number(text), v.maxValue(MAX_TIMER_MS, tooLong), v.minValue(least, text));
}

/** A duration in milliseconds of `least` or more, for an option without a default. A duration above a timer's maximum means no limit. */
export function millisecondsOrNone(least: number): v.GenericSchema {
  const text = millisecondsText(least);
  return v.pipe(v.number(text), v.finite(`${text}, or undefined for no limit`), v.minValue(least, text));
}

/** A duration in milliseconds of `least` or more, or `Infinity`, whose meaning is `never`: 'for no warning'. */
export function millisecondsOrNever(least: number, never: string): v.GenericSchema {
  const text = `${millisecondsText(least)}, or Infinity ${never}`;
  return v.pipe(v.number(text), v.minValue(least, text));
}

export function integer(least: number): v.GenericSchema {
  const text = `an integer of ${String(least)} or more`;
  return v.pipe(v.number(text), v.integer(text), v.minValue(least, text));
}

export const flag = v.boolean('true or false');

const bytesText = 'a number of bytes, or -1 for no limit';

/** Maximum message size in bytes; −1 means no limit. */
export const bytes = v.pipe(
  v.number(bytesText),
  v.integer('a whole number of bytes, or -1 for no limit'),
  v.minValue(-1, bytesText),
);

export const onDrain = v.picklist(['finish', 'complete', 'fail'], "'finish', 'complete' or 'fail'");

function millisecondsText(least: number): string {
  return least === POSITIVE
    ? 'a number of milliseconds above 0'
    : `a number of milliseconds of ${String(least)} or more`;
}
