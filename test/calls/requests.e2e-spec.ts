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

/** Forwards everything unchanged. */
const unchanged: Interceptor = (options, next) => new InterceptingCall(next(options));
const STREAMS = ['clientStream', 'bidi'] as const;

async function* generate(count: number): AsyncGenerator<EchoRequest> {
  for (const message of upTo(count)) {
    await turns();
    yield message;
  }
}

const generateOnce = (count: number) => ({ [Symbol.asyncIterator]: () => generate(count) });

/** An async iterable that yields `messages` without promises, as `for await` permits. */
function withoutPromises(messages: EchoRequest[]) {
  return { [Symbol.asyncIterator]: () => messages.values() } as unknown as AsyncIterable<EchoRequest>;
}

/** An Observable of another library than RxJS. */
const foreign = {
  subscribe(observer: { next(message: EchoRequest): void; complete(): void }) {
    for (const message of upTo(20)) observer.next(message);
    observer.complete();
    return { unsubscribe: () => undefined };
  },
} as unknown as Observable<EchoRequest>;

const SOURCES: readonly (readonly [string, () => RequestStream<EchoRequest>])[] = [
  ['a synchronous Observable', () => from(upTo(20))],
  ['an asynchronous Observable', () => scheduled(upTo(20), asyncScheduler)],
  ['an array', () => upTo(20)],
  ['a Set', () => new Set(upTo(20))],
  ['a generator', () => upTo(20).values()],
  ['an async generator', () => generate(20)],
  ['an async iterable without promises', () => withoutPromises(upTo(20))],
  ['an async iterable that is also an Observable', () => Object.assign(new Subject<EchoRequest>(), generateOnce(20))],
  ['an Observable of another library', () => foreign],
];

describe.each(SOURCES)('requests from %s', (what, make) => {
  it(`delivers all requests from ${what} in sequence`, async () => {
    const { echo, server } = await scene();
    expect(await lastValueFrom(echo.bidi(make()).pipe(toArray()))).toMatchObject(upTo(20));
    expect(await firstValueFrom(echo.clientStream(make()))).toMatchObject({ number: 20 });
    for (const { requests } of server.calls()) expect(requests).toMatchObject(upTo(20));
  });
});

describe('requests', () => {
  it('sends all requests that a Subject emits before the channel is READY', async () => {
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

  it('sends the requests of a Subject that completes before the channel is READY', async () => {
    const { echo } = await scene();
    const requests = new Subject<EchoRequest>();
    const answer = firstValueFrom(echo.clientStream(requests));
    for (const message of upTo(3)) requests.next(message);
    requests.complete();
    expect(await answer).toMatchObject({ number: 3 });
  });

  it('forwards the responses of another call as requests', async () => {
    const { echo } = await scene();
    const answers = await toList(echo.bidi(echo.serverStream({ number: 200 })));
    expect(answers).toMatchObject(upTo(200));
  });

  it('subscribes to the request source once per call, when the call starts', async () => {
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

  it.each(STREAMS)(
    'rejects an invalid request source of a %s call with an error that names the method',
    async (method) => {
      const { echo, client } = await scene();
      for (const wrong of [undefined, null, 5, 'text', { text: 'a' }, Promise.resolve([])]) {
        const error = await rejection(echo[method](wrong as never));
        expect(error).toMatchObject({
          reason: 'not-sent',
          reachedServer: 'no',
          path: `/testing.v1.Echo/${protoName(method)}`,
          details: expect.stringMatching(
            /^The call could not be prepared: expected request messages as an Observable, an AsyncIterable, or an Iterable, got .*; wrap a single message in an array$/,
          ) as unknown,
          cause: expect.any(TypeError) as unknown,
        });
      }
      expect(client.activeCalls()).toEqual([]);
    },
  );

  it.each(STREAMS)(
    'fails a %s call with the original error if its request source cannot be inspected',
    async (method) => {
      const { echo, client } = await scene();
      const { proxy, revoke } = Proxy.revocable([{}], {});
      revoke();
      expect(await rejection(echo[method](proxy as never))).toBeInstanceOf(TypeError);
      expect(client.activeCalls()).toEqual([]);
    },
  );

  it.each<[string, object]>([
    ['an iterator', { [Symbol.iterator]: () => ({ next: () => undefined }) }],
    ['an async iterator', { [Symbol.asyncIterator]: () => ({ next: () => undefined }) }],
    ['an async iterator, in a promise', { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve() }) }],
  ])('fails a call with a TypeError if %s returns an undefined result', async (_what, source) => {
    const { echo } = await scene();
    expect(await rejection(echo.bidi(source as never))).toEqual(
      new TypeError(
        'source of messages: expected an iterator result, got undefined; return { value, done } from next()',
      ),
    );
  });

  it('omits the content of a string request source from the error', async () => {
    const { echo } = await scene();
    expect(String(await rejection(echo.bidi('open sesame' as never)))).toContain('got a string of length 11;');
  });
});

it.each([
  ['', {}],
  [' with an interceptor', { interceptors: [unchanged] }],
])('completes a client-streaming call%s if the server answers before the requests end', async (_, options) => {
  const { echo, server } = await scene();
  server.script('ClientStream', { requests: 'read', message: { number: 7 } });
  expect(await toList(echo.clientStream(upTo(200), options))).toMatchObject([{ number: 7 }]);
});

describe.each(STREAMS)('failing request source of %s', (method) => {
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

  const failed = throwError(() => broken);
  const fail = (): never => {
    throw broken;
  };
  function* failAfter(messages: EchoRequest[]): Generator<EchoRequest> {
    yield* messages;
    throw broken;
  }
  async function* failAsynchronously(): AsyncGenerator<EchoRequest> {
    yield* generate(3);
    throw broken;
  }
  const failing: readonly (readonly [string, () => RequestStream<EchoRequest>])[] = [
    ['an Observable that fails immediately', () => failed],
    ['a synchronous Observable that fails after messages', () => concat(from(upTo(3)), failed)],
    ['an Observable that fails later', () => concat(of({ number: 1 }), timer(20).pipe(ignoreElements()), failed)],
    ['an Observable that throws when subscribed to', () => new Observable(fail)],
    ['a generator that fails immediately', () => failAfter([])],
    ['a generator that fails after messages', () => failAfter(upTo(3))],
    ['an async generator that fails after messages', () => failAsynchronously()],
    ['an async iterable whose next() throws', () => ({ [Symbol.asyncIterator]: () => ({ next: fail }) })],
    ['an iterable whose iterator cannot be created', () => ({ [Symbol.iterator]: fail })],
  ];

  it(`ends a ${method} call with the error of an Observable, even if the server has not read its earlier messages`, async () => {
    const { echo, server } = await scene();
    server.script(protoName(method), { requests: 'leave', never: true });
    const unread = from(Array.from({ length: 50 }, () => ({ payload: Buffer.alloc(64 * 1024) })));
    expect(await rejection(toList(echo[method](concat(unread, failed))))).toBe(broken);
  });

  describe.each([
    ['on a READY channel', true],
    ['on an IDLE channel', false],
  ])('%s', (when, connected) => {
    it.each(failing)(`ends a ${method} call ${when} with the error of %s`, async (_what, make) => {
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

describe.each(STREAMS)('release of the request source of %s', (method) => {
  /** Creates request sources that never end, and records which ones were released. */
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

  it('releases the request source when the server ends the call', async () => {
    const { echo, server } = await scene();
    server.script(protoName(method), { status: 'ABORTED', requests: 'leave' });
    const { ended, all } = sources();
    for (const source of all) expect(await failureOf(echo[method](source))).toMatchObject({ code: 10 });
    expect(ended).toEqual(ALL_ENDED);
  });

  it('releases the request source when the server answers before reading all requests', async () => {
    const { echo, server } = await scene();
    server.script(protoName(method), { messages: [{ number: 1 }], requests: 'leave' });
    const { ended, all } = sources();
    for (const source of all) expect(await toList(echo[method](source))).toMatchObject([{ number: 1 }]);
    expect(ended).toEqual(ALL_ENDED);
  });

  it('releases the request source on cancellation, at the deadline, and on close()', async () => {
    const { echo, server, client } = await scene(
      {},
      { scripts: { [protoName(method)]: { never: true, requests: 'leave' } } },
    );
    const cancelled = sources();
    const subscriptions = cancelled.all.map((source) => echo[method](source).subscribe());
    await waitFor(() => server.counts().open === 3);
    for (const subscription of subscriptions) subscription.unsubscribe();
    expect(cancelled.ended).toEqual(ALL_ENDED);

    const expired = sources();
    for (const source of expired.all) {
      expect(await failureOf(echo[method](source, { timeoutMs: 50 }))).toMatchObject({ code: 4 });
    }
    expect(expired.ended).toEqual(ALL_ENDED);

    const closed = sources();
    const failures = closed.all.map((source) => failureOf(echo[method](source)));
    await client.close();
    for (const error of await Promise.all(failures)) expect(error).toMatchObject({ reason: 'closed' });
    expect(closed.ended).toEqual(ALL_ENDED);
  });

  it('releases a request source that aborts its call during the subscription', async () => {
    const { echo, client } = await scene();
    const abort = new AbortController();
    const released = { teardown: false };
    const source = new Observable<EchoRequest>(() => {
      abort.abort();
      return () => {
        released.teardown = true;
      };
    });
    expect(await failureOf(echo[method](source, { signal: abort.signal }))).toMatchObject({ reason: 'cancelled' });
    expect(released.teardown).toBe(true);
    expect(client.activeCalls()).toEqual([]);
  });

  it('ignores errors that a request source throws in its cleanup', async () => {
    const { echo, server } = await scene();
    server.script(protoName(method), { status: 'ABORTED', requests: 'leave' });
    const broken = (async function* (): AsyncGenerator<EchoRequest> {
      try {
        for (;;) yield { number: 1 };
      } finally {
        throw new Error('a bug in the cleanup');
      }
    })();
    expect(await failureOf(echo[method](broken))).toMatchObject({ code: 10 });
    const iterable: Iterable<EchoRequest> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: { number: 1 } }),
        return: () => {
          throw new Error('a bug in the cleanup');
        },
      }),
    };
    expect(await failureOf(echo[method](iterable))).toMatchObject({ code: 10 });
    const observable = new Observable<EchoRequest>(() => () => {
      throw new Error('a bug in the cleanup');
    });
    expect(await failureOf(echo[method](observable))).toMatchObject({ code: 10 });
  });

  it('ignores values that a request source emits after its release', async () => {
    const { echo, server, client } = await scene();
    server.script(protoName(method), { never: true });
    const requests = new Subject<EchoRequest>();
    const subscription = echo[method](requests).subscribe();
    requests.next({ number: 1 });
    await waitFor(() => server.counts().open === 1);
    subscription.unsubscribe();
    requests.next({ number: 2 });
    requests.error(new Error('no subscriber'));
    await waitFor(() => server.counts().open === 0);
    expect(client.activeCalls()).toEqual([]);
  });

  it('completes the call if the request source is empty, and keeps the call open if the source never emits', async () => {
    const { echo, server } = await scene();
    expect(await toList(echo[method](EMPTY))).toHaveLength(method === 'bidi' ? 0 : 1);
    const subscription = echo[method](NEVER).subscribe();
    await waitFor(() => server.counts().calls === 2);
    // A call whose requests ended would be answered during these turns.
    for (let i = 0; i < 20; i++) await turns();
    expect({ open: server.counts().open, closed: subscription.closed }).toEqual({ open: 1, closed: false });
    subscription.unsubscribe();
    await waitFor(() => server.counts().open === 0);
  });
});
