import * as v from 'valibot';
import { expect, it } from 'vitest';
import { optionProblems } from './option-problems.js';
import { converted, flag, integer, list, object, oneOf, rule, timeout } from './option-schemas.js';

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
    { path: 'options.b', message: 'expected an integer of 1 or more, got "1"; write the number 1' },
    { path: 'options.c', message: 'expected yes, got "no"; write "yes"' },
    { path: 'options.d', message: 'cannot be set; remove it' },
    { path: 'options.e', message: 'expected true or false, got nothing' },
  ]);
});

it('omits a possible secret from the problem of an option', () => {
  const schema = object({ metadata: object({ token: v.number('a number') }, 'an object') }, 'an object');
  expect(optionProblems(schema, { metadata: { token: 'hush' } }, 'orders')).toEqual([
    { path: 'orders.metadata.token', message: 'expected a number, got a string of length 4' },
  ]);
});

it('suggests omitting a null option only if the option is optional', () => {
  const entry = object({ url: v.string('a target'), port: v.optional(integer(0)) }, 'an object');
  const schema = object({ clients: list(entry, 'a list'), name: v.optional(v.string('a name')) }, 'an object');
  const omit = '; omit it or write undefined';
  expect(optionProblems(schema, { clients: [{ url: null, port: null }], name: null }, 'options')).toEqual([
    { path: 'options.clients[0].url', message: 'expected a target, got null' },
    { path: 'options.clients[0].port', message: `expected an integer of 0 or more, got null${omit}` },
    { path: 'options.name', message: `expected a name, got null${omit}` },
  ]);
  expect(optionProblems(schema, null, 'options')).toEqual([
    { path: 'options', message: 'expected an object, got null' },
  ]);
  expect(optionProblems(v.optional(schema), null, 'options')).toEqual([
    { path: 'options', message: `expected an object, got null${omit}` },
  ]);
});

it('suggests the number that a string contains only if the option accepts that number', () => {
  const entry = object({ timeoutMs: v.optional(timeout), port: integer(1, 65_535) }, 'an object');
  const schema = object({ clients: list(entry, 'a list'), name: v.string('a name') }, 'an object');
  const messagesFor = (timeoutMs: unknown, port: unknown) =>
    optionProblems(schema, { clients: [{ timeoutMs, port }], name: null }, 'options').map(({ message }) => message);
  const timeoutText = 'expected a number of milliseconds above 0, got ';
  const portText = 'expected an integer from 1 to 65535, got ';
  const others = ['expected a name, got null'];
  expect(messagesFor('-5', '65536')).toEqual([`${timeoutText}"-5"`, `${portText}"65536"`, ...others]);
  expect(messagesFor('0', '1.5')).toEqual([`${timeoutText}"0"`, `${portText}"1.5"`, ...others]);
  expect(messagesFor('0s', '80s')).toEqual([`${timeoutText}"0s"`, `${portText}"80s"`, ...others]);
  expect(messagesFor('5', '0')).toEqual([`${timeoutText}"5"; write the number 5`, `${portText}"0"`, ...others]);
  expect(messagesFor('2s', ' 80 ')).toEqual([
    `${timeoutText}"2s"; write 2000`,
    `${portText}" 80 "; write the number 80`,
    ...others,
  ]);
  expect(optionProblems(integer(1), '0', 'port')).toEqual([
    { path: 'port', message: 'expected an integer of 1 or more, got "0"' },
  ]);
});

it('suggests the closest choice for a misspelled one', () => {
  const schema = object({ mode: oneOf(['pick_first', 'round_robin']) }, 'an object');
  const messageFor = (mode: unknown) => optionProblems(schema, { mode }, 'options').map(({ message }) => message);
  const expected = "expected 'pick_first' or 'round_robin', got ";
  expect(messageFor('round-robbin')).toEqual([`${expected}"round-robbin"; did you mean 'round_robin'?`]);
  expect(messageFor('random')).toEqual([`${expected}"random"`]);
  expect(messageFor(1)).toEqual([`${expected}1`]);
});

it('builds remedies only for the listed problems', () => {
  let built = 0;
  const suggest = () => {
    built += 1;
    return '"yes"';
  };
  const count = { getOwnPropertyDescriptor: () => void (built += 1) };
  const schema = object(
    {
      answers: list(
        converted('yes', () => undefined, suggest),
        'a list',
      ),
    },
    'an object',
    new Proxy({}, count),
  );
  const answers = Array(1_000).fill('no');
  expect(optionProblems(schema, { answers }, 'options')).toHaveLength(101);
  expect(built).toBe(101);
  built = 0;
  const keys = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`anser${String(index)}`, 1]));
  expect(optionProblems(schema, { answers: [], ...keys }, 'options')).toHaveLength(101);
  expect(built).toBe(101);
});

it('parses options at most twice, even if many options are null', () => {
  let parsed = 0;
  const counted = v.pipe(
    v.unknown(),
    rule(() => void (parsed += 1)),
  );
  const schema = object({ counted, all: list(v.string('a string'), 'a list') }, 'an object');
  const problems = optionProblems(schema, { counted: 1, all: Array(200).fill(null) }, 'options');
  expect(problems[100]).toMatchObject({ path: 'options.all[100]', unlisted: 100 });
  expect(problems[0]).toEqual({ path: 'options.all[0]', message: 'expected a string, got null' });
  expect(parsed).toBe(2);
});
