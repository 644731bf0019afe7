import * as v from 'valibot';

// Kinds of values that options of clients and of servers are made of. Each message says what is expected; validate-options.ts puts
// "expected" before it and what was found behind it.

/** What may be left out. */
export const orUndefined = <S extends v.GenericSchema>(schema: S) => v.optional(schema);

/** Above 0, as the least value. */
export const POSITIVE = Number.MIN_VALUE;

/** What a timer can hold, some 24 days. */
const LONGEST_MS = 2 ** 31 - 1;

/** A length in milliseconds of `least` or more that has a default; `instead`: what to write for no limit. */
export function milliseconds(least: number, instead = ''): v.GenericSchema {
  const text = millisecondsText(least);
  const tooLong = `${text}, at most ${String(LONGEST_MS)} (24 days)${instead}`;
  return v.pipe(v.number(text), v.maxValue(LONGEST_MS, tooLong), v.minValue(least, text));
}

/** A length in milliseconds of `least` or more; without it there is no limit. One that no timer can hold is none in effect. */
export function millisecondsOrNone(least: number): v.GenericSchema {
  const text = millisecondsText(least);
  return v.pipe(v.number(text), v.finite(`${text}, or nothing for no limit`), v.minValue(least, text));
}

/** A length in milliseconds of `least` or more, or `Infinity`, which means `never`: 'for no warning'. */
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

/** Bytes of a message; −1: no limit. */
export const bytes = v.pipe(
  v.number(bytesText),
  v.integer('a whole number of bytes, or -1 for no limit'),
  v.minValue(-1, bytesText),
);

/** 'finish', 'complete' or 'fail'. */
export const onDrain = v.picklist(['finish', 'complete', 'fail'], "'finish', 'complete' or 'fail'");

function millisecondsText(least: number): string {
  return least === POSITIVE
    ? 'a number of milliseconds above 0'
    : `a number of milliseconds of ${String(least)} or more`;
}
