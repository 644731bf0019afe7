import { InterceptingCall, propagate, type CallOptions, type Interceptor } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { MEMORY_METHOD } from '../../../../../test/unit-support/memory-runtime.js';
import { interceptedCall, type InterceptedAttempt } from './intercepted-call.js';

const NOW = Date.UTC(2026, 0, 1);

/** Creates a call with `deadline`. Returns the options that its interceptor receives, and the deadline of the call below it. */
function create(
  deadline: number,
  options?: CallOptions,
  change: (given: CallOptions) => CallOptions = (given) => given,
) {
  let seen: CallOptions = {};
  let created: unknown;
  const interceptor: Interceptor = (given, next) => {
    seen = given;
    return new InterceptingCall(next({ ...given, ...change(given) }));
  };
  const createCall = (final: number) => {
    created = final;
    return {};
  };
  // Safe: the creation of a call uses only this member.
  const attempt = { createCall } as unknown as InterceptedAttempt;
  interceptedCall(MEMORY_METHOD, deadline, options, [interceptor], attempt);
  return { seen, created };
}

/** An inbound call with a deadline. */
const parentUntil = (deadline: Date | number) =>
  ({ getDeadline: () => deadline }) as NonNullable<CallOptions['parent']>;

it.each<[string, CallOptions | undefined]>([
  ['has no options', undefined],
  ['has other options only', { host: 'orders' }],
  ['has a parent without a deadline', { parent: parentUntil(Infinity) }],
])('passes no deadline to interceptors, and Infinity to the call below them, if the call %s', (_, options) => {
  const { seen, created } = create(Infinity, options);
  expect(seen).not.toHaveProperty('deadline');
  expect(created).toBe(Infinity);
});

it.each<[string, Date | number]>([
  ['a Date', new Date(NOW + 500)],
  ['a number', NOW + 500],
  ['Infinity', Infinity],
])('passes the deadline of the caller to interceptors unchanged if it is %s', (_, deadline) => {
  const { seen, created } = create(Number(deadline), { deadline });
  expect(seen.deadline).toBe(deadline);
  expect(created).toBe(Number(deadline));
});

it.each<[string, CallOptions]>([
  ['absent', {}],
  ['later', { deadline: new Date(NOW + 900) }],
])('does not show the deadline of the parent to interceptors if the deadline of the caller is %s', (_, options) => {
  const { seen } = create(NOW + 500, { ...options, parent: parentUntil(new Date(NOW + 500)) });
  expect(seen.deadline).toBe(options.deadline);
});

it.each<[string, CallOptions['deadline'], unknown]>([
  ['a Date if the caller set a later Date', new Date(NOW + 900), new Date(NOW + 500)],
  ['a number if the caller set a later number', NOW + 900, NOW + 500],
  ['a number if the caller set no deadline', undefined, NOW + 500],
])('gives interceptors the deadline that results from a timeout, as %s', (_, given, expected) => {
  expect(create(NOW + 500, given === undefined ? undefined : { deadline: given }).seen.deadline).toEqual(expected);
});

it('passes Infinity to interceptors instead of a deadline that grpc-js cannot send', () => {
  expect(create(Infinity, { deadline: new Date(8.64e15) }).seen.deadline).toBe(Infinity);
});

it.each([null, undefined])('creates a call without a deadline if an interceptor sets the deadline to %s', (removed) => {
  const { created } = create(
    NOW + 500,
    { deadline: NOW + 500 },
    () => ({ deadline: removed }) as unknown as CallOptions,
  );
  expect(created).toBe(Infinity);
});

it.each<[string, number, CallOptions, number]>([
  ['the earlier one of its parent', NOW + 9, { deadline: NOW + 9, parent: parentUntil(NOW + 1) }, NOW + 1],
  ['its own earlier one', NOW, { deadline: NOW, parent: parentUntil(NOW + 1) }, NOW],
  [
    'none if the one of its parent is not propagated',
    Infinity,
    { parent: parentUntil(NOW), propagate_flags: propagate.CANCELLATION },
    Infinity,
  ],
])('gives the call below the interceptors %s as its deadline', (_, deadline, options, expected) => {
  expect(create(deadline, options).created).toBe(expected);
});
