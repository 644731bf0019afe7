import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { errorMessage, isError } from './error-message.js';

it.each([
  ['this realm', new TypeError('no')],
  // As in Jest, where the errors of Node's modules come from another realm.
  ['another realm', runInNewContext('new TypeError("no")') as unknown],
])('recognizes an Error from %s and returns its message', (_, error) => {
  expect(isError(error)).toBe(true);
  expect(errorMessage(error)).toBe('no');
});

it('converts a value that is not an Error to a string', () => {
  expect(isError({ message: 'no' })).toBe(false);
  expect(errorMessage('no')).toBe('no');
  expect(errorMessage(undefined)).toBe('undefined');
});
