import { constants } from 'node:http2';
import { InterceptingCall, Metadata, propagate, type CallOptions, type Interceptor } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { attemptRequest } from '../../../../../test/unit-support/attempt-request.js';
import { fakeChannel, type FakeChannelSettings } from '../../../../../test/unit-support/fake-connection.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { AttemptEnd, AttemptRequest } from '../../call/attempt.js';
import { classify } from '../../policy/evidence/classify.js';
import { InterceptedAttempt, type StartBelow } from './intercepted-attempt.js';
import { SocketAttempt } from './socket-attempt.js';

const NOW = new VirtualClock().epoch();
const through: Interceptor = (options, next) => new InterceptingCall(next(options));
/** Counts of the latest channel. */
let active = { active: 0 };

function make(change: Partial<AttemptRequest> = {}, settings: FakeChannelSettings = {}) {
  const clock = new VirtualClock();
  const fake = fakeChannel(settings);
  const reported: string[] = [];
  const ends: AttemptEnd[] = [];
  const request = attemptRequest({ interceptors: [through], ...change });
  const listener = {
    onHeaders: () => reported.push('headers'),
    onMessage: (message: unknown) => reported.push(`message ${JSON.stringify(message)}`),
    onEnd: (end: AttemptEnd) => {
      reported.push('end');
      ends.push(end);
    },
  };
  /** Requests of the attempts below the interceptors. */
  const below: AttemptRequest[] = [];
  const startBelow: StartBelow = (request, to) => {
    below.push(request);
    return new SocketAttempt(fake.wire, request, to, clock, clock.now()).begin();
  };
  active = fake.counts;
  const attempt = new InterceptedAttempt(fake.wire, request, listener, clock, startBelow);
  return { ...fake, clock, reported, ends, attempt, below };
}

/** Creates a call with `deadline`. Returns the options that its interceptor receives, and the deadline of the attempt below it. */
function create(
  deadline: number,
  options?: CallOptions,
  change: (given: CallOptions) => CallOptions = (given) => given,
) {
  let seen: CallOptions = {};
  const interceptor: Interceptor = (given, next) => {
    seen = given;
    return new InterceptingCall(next({ ...given, ...change(given) }));
  };
  const { attempt, below } = make({ deadline, options, interceptors: [interceptor] });
  attempt.send({});
  return { seen, created: below[0]?.deadline };
}

/** An inbound call with a deadline. */
const parentUntil = (deadline: Date | number) =>
  ({ getDeadline: () => deadline, on: () => undefined, off: () => undefined }) as unknown as NonNullable<
    CallOptions['parent']
  >;

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

describe('attempt with interceptors', () => {
  it('serializes messages below the interceptors, and reads a single response automatically', () => {
    const { did, receive, attempt, reported } = make();
    attempt.send({ number: 1 });
    attempt.startRead();
    expect(did).toEqual(['send {"number":1}']);
    receive.headers();
    receive.message('{"number":2}');
    expect(reported).toEqual(['headers', 'message {"number":2}']);
  });

  it('starts the response at the first message if an interceptor forwards no headers', () => {
    const answering: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (_metadata, listener) => {
          listener.onReceiveMessage({ number: 1 });
          listener.onReceiveMessage({ number: 2 });
          listener.onReceiveStatus({ code: 14, details: '', metadata: new Metadata() });
        },
      });
    const { ends, reported } = make({ interceptors: [answering] });
    expect(reported).toEqual(['headers', 'message {"number":1}', 'message {"number":2}', 'end']);
    expect(ends[0]).toMatchObject({ headersReceived: true, messagesReceived: 2 });
  });

  it.each([
    ['the latest call had no connection', 'failure'],
    ['the server refused the latest call', 'ready'],
  ] as const)('does not report an attempt with several calls as unprocessed if %s', (_which, pick) => {
    const twice: Interceptor = (options, next) => {
      next(options);
      return new InterceptingCall(next(options));
    };
    const { channel, receive, attempt, clock, ends } = make({ interceptors: [twice] }, { picks: [pick] });
    attempt.send({});
    channel.ready = false;
    receive.failure({ cause: 'reset', code: constants.NGHTTP2_REFUSED_STREAM });
    clock.advance(0);
    expect(ends[0]?.picked).toBe(true);
    expect(ends[0]?.wire?.unprocessed).toBeUndefined();
    expect(ends[0]?.wire?.resetCode).toBeUndefined();
    expect(classify(ends[0]!)).toMatchObject({ kind: 'connection-lost', reachedServer: 'maybe' });
  });

  it('reports an unreadable response as a local protocol error', () => {
    const { clock, receive, attempt, ends } = make();
    attempt.send({});
    receive.headers();
    receive.message('{');
    clock.advance(0);
    expect(ends[0]).toMatchObject({ endedHere: 'protocol', code: 13 });
    expect(ends[0]?.details).toMatch(/^Response message parsing error: /);
  });

  it('ends a call that an interceptor starts after it was cancelled, without sending it', () => {
    let start: () => void = () => undefined;
    const late: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, listener, proceed) => {
          start = () => proceed(metadata, listener);
        },
      });
    const { opened, clock, attempt, ends } = make({ interceptors: [late] });
    expect(attempt.unsentBecause).toBe('waiting for an interceptor');
    attempt.cancel('cancel', 1, 'Cancelled on client');
    start();
    clock.advance(0);
    expect(ends[0]).toMatchObject({ code: 1, endedHere: 'cancel', wire: { unprocessed: 'never-sent' } });
    expect(opened).toEqual([]);
  });

  it('is never sent after it is cancelled, even if an interceptor ignores the cancellation', () => {
    const deaf: Interceptor = (options, next) => new InterceptingCall(next(options), { cancel: () => undefined });
    const { attempt, clock, ends, opened, pickAgain } = make({ interceptors: [deaf] }, { picks: ['queue', 'ready'] });
    attempt.send({});
    attempt.cancel('cancel', 1, 'enough');
    pickAgain();
    clock.advance(0);
    expect(ends).toMatchObject([{ code: 1, details: 'enough', endedHere: 'cancel' }]);
    expect(opened).toEqual([]);
  });

  it('forwards a status that an interceptor creates, without starting the call', () => {
    const { ends, reported, opened, endpointReports } = make({
      interceptors: [
        (options, next) =>
          new InterceptingCall(next(options), {
            start: (_metadata, listener) => {
              listener.onReceiveStatus({ code: 7, details: 'not allowed', metadata: new Metadata() });
            },
          }),
      ],
    });
    expect(reported).toEqual(['end']);
    expect(ends[0]).toMatchObject({ code: 7, details: 'not allowed' });
    expect([opened, endpointReports]).toEqual([[], []]);
  });

  it('drops the evidence of the status if an interceptor replaces it', () => {
    const replacing: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, _listener, proceed) =>
          proceed(metadata, {
            onReceiveStatus: (status, forward) => forward({ ...status, code: 7, details: 'not allowed' }),
          }),
      });
    const [kept, replaced] = [make(), make({ interceptors: [replacing] })];
    for (const { attempt, receive } of [kept, replaced]) {
      attempt.send({});
      receive.failure({ cause: 'lost' });
    }
    expect([kept.ends[0]?.failure, replaced.ends[0]?.failure]).toEqual(['dropped', undefined]);
  });

  it('reports a request that is too large, or cannot be serialized, as a local failure', () => {
    const large = make();
    large.attempt.send({ text: 'x'.repeat(200) });
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    const unserializable = make();
    unserializable.attempt.send(cyclic);
    const ends = [large, unserializable].map(({ clock, ends }) => {
      clock.advance(0);
      return ends[0]!;
    });
    expect(ends.map(({ failure }) => failure)).toEqual(['request-too-large', 'request-not-serializable']);
    expect(ends.map((end) => classify(end).reachedServer)).toEqual(['no', 'no']);
  });

  it('does not count an attempt as running if its start throws', () => {
    const thrower: Interceptor = () => {
      throw new Error('from an interceptor');
    };
    expect(() => make({ interceptors: [thrower] })).toThrow('from an interceptor');
    expect(active.active).toBe(0);
  });
});
