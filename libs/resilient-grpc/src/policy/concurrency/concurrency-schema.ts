import { closest } from '../../errors/closest.js';
import { converted, type Schema } from '../options/option-schemas.js';
import { integerRule } from '../options/value-rules.js';

const { expected, isValid } = integerRule(1);

/** A concurrency limit: an integer of 1 or more, or 'adaptive'. */
export const concurrencyLimit: Schema<number | 'adaptive'> = converted(
  `${expected}, or 'adaptive'`,
  (value) => (value === 'adaptive' || (typeof value === 'number' && isValid(value)) ? value : undefined),
  (value) => {
    if (typeof value !== 'string') return undefined;
    if (isValid(Number(value))) return `the number ${String(Number(value))}`;
    return closest(value, ['adaptive']) === undefined ? undefined : "'adaptive'";
  },
);
