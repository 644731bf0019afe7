import { describe, expect, it } from 'vitest';
import { parsePatience } from './patience.js';

describe('parsePatience', () => {
  it('returns the number in DEMO_PATIENCE', () => {
    expect(['1', '4', '1.5'].map(parsePatience)).toEqual([1, 4, 1.5]);
  });

  it.each(['abc', '', '0.5', '-4', 'Infinity'])(
    "rejects DEMO_PATIENCE='%s' with an error that names the variable and the expected value",
    (value) => {
      expect(() => parsePatience(value)).toThrow(
        `DEMO_PATIENCE: expected a number of at least 1, got '${value}'; write DEMO_PATIENCE=4`,
      );
    },
  );
});
