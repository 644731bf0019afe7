import * as v from 'valibot';
import { expect, it } from 'vitest';
import { optionProblems } from './option-problems.js';
import { converted, flag, integer, list, object, oneOf, rule, rulesOf, timeout } from './option-schemas.js';

it('lists unknown options first, then the problem of each invalid option', () => {
  const schema = object(
    {
      a: v.number('a number'),
      b: v.optional(integer(1)),
      c: converted('yes', (value) => (value === 'yes' ? true : undefined)),
      d: v.pipe(
        v.unknown(),
        rule(() => 'cannot be set'),
      ),
      e: flag,
      modes: list(oneOf(['pick_first', 'round_robin']), 'a list'),
      timeoutMs: timeout,
    },
    'an object',
  );
  const value = { a: 'x', b: '1', c: 'no', d: 1, modes: ['first'], timeoutMs: NaN, timeoutMS: 2, color: 3 };
  expect(optionProblems(schema, value, 'options')).toEqual([
    { path: 'options.timeoutMS', message: "unknown option; did you mean 'timeoutMs'?" },
    { path: 'options.color', message: 'unknown option' },
    { path: 'options.a', message: 'expected a number, got "x"' },
    { path: 'options.b', message: 'expected an integer of 1 or more, got "1"' },
    { path: 'options.c', message: 'expected yes, got "no"' },
    { path: 'options.d', message: 'cannot be set' },
    { path: 'options.e', message: 'expected true or false, got nothing' },
    { path: 'options.modes[0]', message: "expected 'pick_first' or 'round_robin', got \"first\"" },
    {
      path: 'options.timeoutMs',
      message: 'expected a number of milliseconds above 0, or Infinity for no limit, got NaN',
    },
  ]);
  expect(optionProblems(schema, [], 'options')).toEqual([
    { path: 'options', message: 'expected an object, got an array of length 0' },
  ]);
});

it('reports the problem of a rule at the option that the rule names, even if other options are invalid', () => {
  const schema = v.pipe(
    object({ low: integer(0), high: integer(0) }, 'an object'),
    rulesOf(() => ({ high: 'expected more than low', low: undefined })),
  );
  expect(optionProblems(schema, { low: -1, high: 0 }, 'options')).toEqual([
    { path: 'options.low', message: 'expected an integer of 0 or more, got -1' },
    { path: 'options.high', message: 'expected more than low' },
  ]);
});

it('omits a possible secret from the problem of an option', () => {
  const schema = object({ metadata: object({ token: v.number('a number') }, 'an object') }, 'an object');
  expect(optionProblems(schema, { metadata: { token: 'hush' } }, 'orders')).toEqual([
    { path: 'orders.metadata.token', message: 'expected a number, got a string of length 4' },
  ]);
});

it('lists 100 problems, and the number of the others', () => {
  const schema = object({ answers: list(v.string('a string'), 'a list') }, 'an object');
  const problems = optionProblems(schema, { answers: Array(200).fill(null) }, 'options');
  expect(problems).toHaveLength(101);
  expect(problems[0]).toEqual({ path: 'options.answers[0]', message: 'expected a string, got null' });
  expect(problems[100]).toMatchObject({ path: 'options.answers[100]', unlisted: 100 });
});
