import * as v from 'valibot';
import { expect, it } from 'vitest';
import { optionProblems } from './option-problems.js';
import { converted, flag, integer, object, rule, rulesOf, timeout } from './option-schemas.js';

it('lists unknown options first, then the problem of each invalid option', () => {
  const schema = object({
    a: v.number(),
    b: v.optional(integer(1)),
    c: converted('yes', (value) => (value === 'yes' ? true : undefined)),
    d: v.pipe(
      v.unknown(),
      rule(() => 'cannot be set'),
    ),
    e: flag,
    modes: v.array(v.picklist(['pick_first', 'round_robin'])),
    timeoutMs: timeout,
  });
  const value = { a: 'x', b: '1', c: 'no', d: 1, modes: ['first'], timeoutMs: NaN, timeoutMS: 2, color: 3 };
  expect(optionProblems(schema, value, 'options')).toEqual([
    { path: 'options.timeoutMS', message: "unknown option; did you mean 'timeoutMs'?" },
    { path: 'options.color', message: 'unknown option' },
    { path: 'options.a', message: 'expected number, got "x"' },
    { path: 'options.b', message: 'expected number, got "1"' },
    { path: 'options.c', message: 'expected yes, got "no"' },
    { path: 'options.d', message: 'cannot be set' },
    { path: 'options.e', message: 'expected a value, got nothing' },
    { path: 'options.modes[0]', message: 'expected ("pick_first" | "round_robin"), got "first"' },
    { path: 'options.timeoutMs', message: 'expected number, got NaN' },
  ]);
  expect(optionProblems(schema, [], 'options')).toEqual([
    { path: 'options', message: 'expected an object, got an array of length 0' },
  ]);
});

it('reports the problem of a rule at the option that the rule names, even if other options are invalid', () => {
  const schema = v.pipe(
    object({ low: integer(0), high: integer(0) }),
    rulesOf(() => ({ high: 'expected more than low', low: undefined })),
  );
  expect(optionProblems(schema, { low: -1, high: 0 }, 'options')).toEqual([
    { path: 'options.low', message: 'expected >=0, got -1' },
    { path: 'options.high', message: 'expected more than low' },
  ]);
});

it('omits a possible secret from the problem of an option', () => {
  const schema = object({ metadata: object({ token: v.number() }) });
  expect(optionProblems(schema, { metadata: { token: 'hush' } }, 'orders')).toEqual([
    { path: 'orders.metadata.token', message: 'expected number, got a string of length 4' },
  ]);
});
