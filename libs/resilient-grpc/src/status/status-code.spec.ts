import { expect, it } from 'vitest';
import { suggestStatusCode } from './status-code.js';

it.each([
  ['14', 'the number 14'],
  ['unavailable ', '"UNAVAILABLE"'],
  ['DeadlineExceeded', '"DEADLINE_EXCEEDED"'],
  ['OutOfRange', '"OUT_OF_RANGE"'],
  ['out-of-range', '"OUT_OF_RANGE"'],
  ['Unreachable', undefined],
  [14, undefined],
])('returns the suggestion for the status code %j: %j', (value, suggestion) => {
  expect(suggestStatusCode(value)).toBe(suggestion);
});
