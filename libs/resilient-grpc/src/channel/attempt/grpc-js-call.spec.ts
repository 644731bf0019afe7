import { InterceptingCall, Metadata, propagate, type CallOptions, type Channel, type Interceptor } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import type { MethodDescriptor } from '../../call/method.js';
import { MEMORY_METHOD } from '../../../../../test/unit-support/memory-runtime.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { interceptedCall } from './grpc-js-call.js';

const NOW = Date.UTC(2026, 0, 1);

/** Creates a call with `deadline`. Returns the options that its interceptor receives, and the deadline that grpc-js's channel receives. */
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
  const channel = {
    createCall: (_path: string, final: unknown) => {
      created = final;
      return {};
    },
  } as unknown as Channel;
  const callbacks = { telemetry: undefined, onCreated: () => undefined, onUnreadable: () => undefined };
  const method: MethodDescriptor = MEMORY_METHOD;
  interceptedCall(channel, method, deadline, options, [interceptor], callbacks, new VirtualClock(NOW));
  return { seen, created };
}

/** An inbound call with a deadline. */
const parentUntil = (deadline: Date | number) =>
  ({ getDeadline: () => deadline }) as NonNullable<CallOptions['parent']>;

it.each<[string, CallOptions | undefined]>([
  ['has no options', undefined],
  ['has other options only', { host: 'orders' }],
  ['has a parent without a deadline', { parent: parentUntil(Infinity) }],
])('passes no deadline to interceptors, and Infinity to the channel, if the call %s', (_, options) => {
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
  expect(created).toBe(deadline);
});

it.each<[string, CallOptions]>([
  ['absent', {}],
  ['later', { deadline: new Date(NOW + 900) }],
])('leaves the deadline of the parent to grpc-js if the deadline of the caller is %s', (_, options) => {
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

it.each<[string, number, CallOptions, boolean]>([
  ['its own deadline has passed', NOW, { deadline: NOW }, false],
  ['the deadline of its parent has passed', NOW, { parent: parentUntil(NOW) }, false],
  ['both deadlines are later', NOW + 1, { deadline: NOW + 9, parent: parentUntil(NOW + 1) }, true],
  [
    'the deadline of its parent has passed and is not propagated',
    Infinity,
    { parent: parentUntil(NOW), propagate_flags: propagate.CANCELLATION },
    true,
  ],
])(
  'starts a call with interceptors only before its own deadline and the propagated deadline of its parent: %s',
  async (_, deadline, options, isStarted) => {
    let started = false;
    const channelCall = {
      start: () => (started = true),
      startRead: () => undefined,
      cancelWithStatus: () => undefined,
    };
    const channel = { createCall: () => channelCall } as unknown as Channel;
    const callbacks = { telemetry: undefined, onCreated: () => undefined, onUnreadable: () => undefined };
    const interceptor: Interceptor = (given, next) => new InterceptingCall(next(given));
    const clock = new VirtualClock(NOW);
    const call = interceptedCall(channel, MEMORY_METHOD, deadline, options, [interceptor], callbacks, clock);
    const codes: number[] = [];
    call.start(new Metadata(), { onReceiveStatus: ({ code }) => void codes.push(code) });
    await new Promise(setImmediate);
    expect(started).toBe(isStarted);
    expect(codes).toEqual(isStarted ? [] : [4]);
  },
);
