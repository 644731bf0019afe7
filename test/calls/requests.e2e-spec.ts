import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import type { RequestStream } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import {
  EMPTY,
  NEVER,
  Observable,
  Subject,
  asyncScheduler,
  concat,
  firstValueFrom,
  from,
  ignoreElements,
  lastValueFrom,
  of,
  scheduled,
  throwError,
  timer,
  toArray,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EchoRequest } from '../testing/echo-client.js';
import { failureOf, protoName, rejection, scene, toList, turns, upTo } from './support.js';

/** Changes nothing. */
const unchanged: Interceptor = (options, next) => new InterceptingCall(next(options));
const STREAMS = ['clientStream', 'bidi'] as const;

async function* generate(count: number): AsyncGenerator<EchoRequest> {
  for (const message of upTo(count)) {
    await turns();
    yield message;
  }
}

const SOURCES: readonly (readonly [string, () => RequestStream<EchoRequest>])[] = [
  ['an Observable that is done at once', () => from(upTo(20))],
  ['an Observable that takes its time', () => scheduled(upTo(20), asyncScheduler)],
  ['an array', () => upTo(20)],
  ['a Set', () => new Set(upTo(20))],
  ['a generator', () => upTo(20).values()],
  ['an async generator', () => generate(20)],
];

describe.each(SOURCES)('requests from %s', (_what, make) => {
  it('all arrive, in order', async () => {
    const { echo, server } = await scene();
    expect(await lastValueFrom(echo.bidi(make()).pipe(toArray()))).toMatchObject(upTo(20));
    expect(await firstValueFrom(echo.clientStream(make()))).toMatchObject({ number: 20 });
    for (const { requests } of server.calls()) expect(requests).toMatchObject(upTo(20));
  });
});

describe('requests', () => {
  it('from a Subject are not lost before the channel is READY', async () => {
    const { echo } = await scene();
    const requests = new Subject<EchoRequest>();
    const answers = lastValueFrom(echo.bidi(requests).pipe(toArray()));
    for (const message of upTo(3)) requests.next(message);
    await lastValueFrom(timer(20));
    requests.next({ number: 4 });
    requests.complete();
    expect(await answers).toMatchObject(upTo(4));
    expect(requests.observed).toBe(false);
  });

  it('from a Subject that is done before the channel is READY arrive all the same', async () => {
    const { echo } = await scene();
    const requests = new Subject<EchoRequest>();
    const answer = firstValueFrom(echo.clientStream(requests));
    for (const message of upTo(3)) requests.next(message);
    requests.complete();
    expect(await answer).toMatchObject({ number: 3 });
  });

  it('from another call are handed through, as fast as they are taken', async () => {
    const { echo } = await scene();
    const answers = await toList(echo.bidi(echo.serverStream({ number: 200 })));
    expect(answers).toMatchObject(upTo(200));
  });

  it('are asked for once for each call, when it begins', async () => {
    const { echo } = await scene();
    let subscriptions = 0;
    const requests = new Observable<EchoRequest>((subscriber) => {
      subscriptions += 1;
      return of({ number: 1 }).subscribe(subscriber);
    });
    const call = echo.bidi(requests);
    await turns();
    expect(subscriptions).toBe(0);
    await lastValueFrom(call);
    await lastValueFrom(call);
    expect(subscriptions).toBe(2);
  });

  it('go out by the thousand, one behind the other', async () => {
    const { echo, server } = await scene();
    expect(await firstValueFrom(echo.clientStream(from(upTo(5_000))))).toMatchObject({ number: 5_000 });
    expect(server.calls()[0]?.requests).toMatchObject(upTo(5_000));
  });

  it.each(STREAMS)('of %s that are none are a clear error', async (method) => {
    const { echo, client } = await scene();
    for (const wrong of [undefined, null, 5, 'text', {}, Promise.resolve([])]) {
      const error = await rejection(echo[method](wrong as never));
      expect(error).toBeInstanceOf(TypeError);
      expect(String(error)).toContain('expected request messages as an Observable, an AsyncIterable or an Iterable');
    }
    expect(client.activeCalls()).toEqual([]);
  });
});

it.each([
  ['', {}],
  [' under interceptors', { interceptors: [unchanged] }],
])('a stream of requests%s that is answered before it is at its end has succeeded', async (_, options) => {
  const { echo, server } = await scene();
  server.script('ClientStream', { requests: 'read', message: { number: 7 } });
  expect(await toList(echo.clientStream(upTo(200), options))).toMatchObject([{ number: 7 }]);
});

describe.each(STREAMS)('a source of requests of %s that fails', (method) => {
  const broken = new Error('the source is broken');
  const uncaught: unknown[] = [];
  const note = (error: unknown) => void uncaught.push(error);
  beforeEach(() => {
    uncaught.length = 0;
    process.on('unhandledRejection', note);
  });
  afterEach(() => {
    process.off('unhandledRejection', note);
  });

  const failing: readonly (readonly [string, () => RequestStream<EchoRequest>])[] = [
    ['an Observable at once', () => throwError(() => broken)],
    [
      'an Observable at once, after messages',
      () =>
        concat(
          from(upTo(3)),
          throwError(() => broken),
        ),
    ],
    [
      'an Observable later',
      () =>
        concat(
          of({ number: 1 }),
          timer(20).pipe(ignoreElements()),
          throwError(() => broken),
        ),
    ],
    [
      'an Observable that throws when subscribed to',
      () =>
        new Observable(() => {
          throw broken;
        }),
    ],
    [
      'a generator at once',
      () =>
        (function* (): Generator<EchoRequest> {
          throw broken;
        })(),
    ],
    [
      'a generator after messages',
      () =>
        (function* (): Generator<EchoRequest> {
          yield* upTo(3);
          throw broken;
        })(),
    ],
    [
      'an async generator after messages',
      () =>
        (async function* (): AsyncGenerator<EchoRequest> {
          yield* generate(3);
          throw broken;
        })(),
    ],
    [
      'an async iterable by hand, which throws',
      () => ({
        [Symbol.asyncIterator](): AsyncIterator<EchoRequest> {
          return {
            next: () => {
              throw broken;
            },
          };
        },
      }),
    ],
    [
      'an iterable that cannot be iterated',
      () => ({
        [Symbol.iterator](): Iterator<EchoRequest> {
          throw broken;
        },
      }),
    ],
  ];

  describe.each([
    ['on a channel that is READY', true],
    ['on a channel that is idle', false],
  ])('%s', (_when, connected) => {
    it.each(failing)('(%s) gives its error to the caller as it is, and ends the call', async (_what, make) => {
      const { echo, server, client } = await scene();
      server.script(protoName(method), { never: true });
      if (connected) await client.waitForReady();
      expect(await rejection(echo[method](make()))).toBe(broken);
      expect(await rejection(toList(echo[method](make())))).toBe(broken);
      expect(client.activeCalls()).toEqual([]);
      await waitFor(() => server.counts().open === 0);
      await turns();
      expect(uncaught).toEqual([]);
    });
  });
});

describe.each(STREAMS)('a source of requests of %s is let go of', (method) => {
  /** Sources that never end by themselves, and whether they were let go of. */
  const sources = () => {
    const ended = { observable: false, iterable: false, asyncIterable: false };
    const observable = new Observable<EchoRequest>((subscriber) => {
      subscriber.next({ number: 1 });
      return () => {
        ended.observable = true;
      };
    });
    const iterable: Iterable<EchoRequest> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: { number: 1 } }),
        return: () => {
          ended.iterable = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const asyncIterable: AsyncIterable<EchoRequest> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: async () => {
          ended.asyncIterable = true;
          return { done: true, value: undefined };
        },
      }),
    };
    return { ended, all: [observable, iterable, asyncIterable] };
  };
  const ALL_ENDED = { observable: true, iterable: true, asyncIterable: true };

  it('when the server ends the call first', async () => {
    const { echo, server } = await scene();
    server.script(protoName(method), { status: 'ABORTED', requests: 'leave' });
    const { ended, all } = sources();
    for (const source of all) expect(await failureOf(echo[method](source))).toMatchObject({ code: 10 });
    expect(ended).toEqual(ALL_ENDED);
  });

  it('when the server answers before it has read all', async () => {
    const { echo, server } = await scene();
    server.script(protoName(method), { messages: [{ number: 1 }], requests: 'leave' });
    const { ended, all } = sources();
    for (const source of all) expect(await toList(echo[method](source))).toMatchObject([{ number: 1 }]);
    expect(ended).toEqual(ALL_ENDED);
  });

  it('when the caller leaves, its deadline passes, or the client is closed', async () => {
    const { echo, server, client } = await scene(
      {},
      { scripts: { [protoName(method)]: { never: true, requests: 'leave' } } },
    );
    const left = sources();
    const subscriptions = left.all.map((source) => echo[method](source).subscribe());
    await waitFor(() => server.counts().open === 3);
    for (const subscription of subscriptions) subscription.unsubscribe();
    expect(left.ended).toEqual(ALL_ENDED);

    const late = sources();
    for (const source of late.all) {
      expect(await failureOf(echo[method](source, { timeoutMs: 50 }))).toMatchObject({ code: 4 });
    }
    expect(late.ended).toEqual(ALL_ENDED);

    const closed = sources();
    const failures = closed.all.map((source) => failureOf(echo[method](source)));
    await client.close();
    for (const error of await Promise.all(failures)) expect(error).toMatchObject({ reason: 'closed' });
    expect(closed.ended).toEqual(ALL_ENDED);
  });

  it('when it ends its call itself while it is subscribed to', async () => {
    const { echo, client } = await scene();
    const abort = new AbortController();
    const letGoOf = { teardown: false };
    const source = new Observable<EchoRequest>(() => {
      abort.abort();
      return () => {
        letGoOf.teardown = true;
      };
    });
    expect(await failureOf(echo[method](source, { signal: abort.signal }))).toMatchObject({ reason: 'cancelled' });
    expect(letGoOf.teardown).toBe(true);
    expect(client.activeCalls()).toEqual([]);
  });

  it('also when it fails in its own clean-up, which harms nobody', async () => {
    const { echo, server } = await scene();
    server.script(protoName(method), { status: 'ABORTED', requests: 'leave' });
    const broken = (async function* (): AsyncGenerator<EchoRequest> {
      try {
        for (;;) yield { number: 1 };
      } finally {
        throw new Error('a bug of the clean-up');
      }
    })();
    expect(await failureOf(echo[method](broken))).toMatchObject({ code: 10 });
    const iterable: Iterable<EchoRequest> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: { number: 1 } }),
        return: () => {
          throw new Error('a bug of the clean-up');
        },
      }),
    };
    expect(await failureOf(echo[method](iterable))).toMatchObject({ code: 10 });
    const observable = new Observable<EchoRequest>(() => () => {
      throw new Error('a bug of the clean-up');
    });
    expect(await failureOf(echo[method](observable))).toMatchObject({ code: 10 });
  });

  it('and what it gives afterwards goes nowhere', async () => {
    const { echo, server, client } = await scene();
    server.script(protoName(method), { never: true });
    const requests = new Subject<EchoRequest>();
    const subscription = echo[method](requests).subscribe();
    requests.next({ number: 1 });
    await waitFor(() => server.counts().open === 1);
    subscription.unsubscribe();
    requests.next({ number: 2 });
    requests.error(new Error('nobody listens'));
    await waitFor(() => server.counts().open === 0);
    expect(client.activeCalls()).toEqual([]);
  });

  it('while the answer goes on when the source is at its end', async () => {
    const { echo } = await scene();
    expect(await toList(echo[method](EMPTY))).toHaveLength(method === 'bidi' ? 0 : 1);
    const subscription = echo[method](NEVER).subscribe();
    subscription.unsubscribe();
  });
});
