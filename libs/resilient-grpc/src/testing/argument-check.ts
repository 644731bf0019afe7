import { describeData } from '../policy/options/describe-value.js';

/**
 * Creates an argument check for `method`: `check(isValid, 'times to be an integer of 1 or more', times)`. The check throws a RangeError if
 * `isValid` is false.
 */
export function argumentCheck(method: string) {
  return (isValid: boolean, expected: string, got: unknown): void => {
    if (isValid) return;
    throw new RangeError(`${method}: expected ${expected}, got ${describeData(got)}`);
  };
}

export function isInteger(value: unknown, from: number, to = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isInteger(value) && Number(value) >= from && Number(value) <= to;
}
