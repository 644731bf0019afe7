import * as v from 'valibot';
import { expect, it } from 'vitest';
import { optionProblems } from './option-problems.js';
import { converted, flag, integer, object, rule } from './option-schemas.js';

it('lists unknown option keys first, then the problem of each invalid option', () => {
  const schema = object(
    {
      a: v.number('a number'),
      b: v.optional(integer(1)),
      c: converted(
        'yes',
        (value) => (value === 'yes' ? true : undefined),
        () => '"yes"',
      ),
      d: v.pipe(
        v.unknown(),
        rule(() => 'cannot be set; remove it'),
      ),
      e: flag,
    },
    'an object',
    { f: 'write `a`' },
  );
  expect(optionProblems(schema, { a: 'x', b: '1', c: 'no', d: 1, f: 2 }, 'options')).toEqual([
    { path: 'options.f', message: 'unknown key; write `a`' },
    { path: 'options.a', message: 'expected a number, got "x"' },
    { path: 'options.b', message: 'expected an integer of 1 or more, got "1"; write 1 without quotes' },
    { path: 'options.c', message: 'expected yes, got "no"; write "yes"' },
    { path: 'options.d', message: 'cannot be set; remove it' },
    { path: 'options.e', message: 'expected true or false, got nothing' },
  ]);
});

it('omits a possible secret from the problem of an option', () => {
  const schema = object({ metadata: object({ token: v.number('a number') }, 'an object') }, 'an object');
  expect(optionProblems(schema, { metadata: { token: 'hush' } }, 'orders')).toEqual([
    { path: 'orders.metadata.token', message: 'expected a number, got a string of 4 characters' },
  ]);
});
