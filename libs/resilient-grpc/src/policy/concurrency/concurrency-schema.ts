import * as v from 'valibot';
import { integerRule } from '../options/value-rules.js';

const { expected, isValid } = integerRule(1);

/** A concurrency limit: an integer of 1 or more, or 'adaptive'. */
export const concurrencyLimit = v.custom<number | 'adaptive'>(
  (value) => value === 'adaptive' || (typeof value === 'number' && isValid(value)),
  `${expected}, or 'adaptive'`,
);
