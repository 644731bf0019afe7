import { Metadata } from '@grpc/grpc-js';
import { EMPTY, NEVER, firstValueFrom, from, isObservable, lastValueFrom, of, toArray, type Observable } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import { isGrpcCallError } from '../../errors/grpc-call-error.js';
import { replayUnacknowledged } from '../../operators/replay-unacknowledged.js';
import { resumable } from '../../operators/resumable.js';
import { waitFor } from '../wait-for.js';
import type { FakeCall, FakeHandlers } from './fake-call.js';
import { fakeGrpcService } from './fake-grpc-service.js';
import { grpcError } from './grpc-error.js';

interface Item {
  id: string;
}
/** As ts-proto generates it. */
interface ShopClient {
  get(request: { id: string }, metadata?: Metadata): Observable<Item>;
  watch(request: { from: number }, metadata?: Metadata): Observable<{ sequence: number }>;
  upload(request: Observable<Item>, metadata?: Metadata): Observable<{ count: number }>;
  talk(request: Observable<Item>, metadata?: Metadata): Observable<{ ack: string }>;
}
const fake = (handlers: FakeHandlers<ShopClient>) => fakeGrpcService<ShopClient>(handlers);
const get = (handler: FakeHandlers<ShopClient>['get']) => firstValueFrom(fake({ get: handler! }).get({ id: '7' }));
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no failure',
    (error: unknown) => error,
  );

async function* count(from: number, to = Infinity) {
  for (let sequence = from; sequence <= to; sequence++) yield { sequence };
}

describe('handler', () => {
  it.each<[string, NonNullable<FakeHandlers<ShopClient>['get']>]>([
    ['a value', ({ id }) => ({ id })],
    ['a promise', async ({ id }) => ({ id })],
    ['an Observable', ({ id }) => of({ id })],
    ['an iterable', ({ id }) => [{ id }]],
    [
      'a generator',
      function* ({ id }) {
        yield { id };
      },
    ],
    [
      'an async generator',
      async function* ({ id }) {
        yield { id };
      },
    ],
    ['the call of another fake', ({ id }) => fake({ get: () => ({ id }) }).get({ id })],
  ])('accepts a handler that returns %s', async (_what, handler) => {
    await expect(get(handler)).resolves.toEqual({ id: '7' });
  });

  it('responds with an empty message if the handler returns nothing', async () => {
    const shop = fakeGrpcService<{ touch(request: object): Observable<object | undefined> }>({
      touch: () => undefined,
    });
    await expect(firstValueFrom(shop.touch({}))).resolves.toEqual({});
  });

  it('streams a large array or nothing at all', async () => {
    const shop = fake({ watch: () => Array.from({ length: 100_000 }, (_, sequence) => ({ sequence })) });
    const all = await lastValueFrom(shop.watch({ from: 0 }).pipe(toArray()));
    expect(all).toHaveLength(100_000);
    await expect(
      lastValueFrom(
        fake({ watch: () => EMPTY })
          .watch({ from: 0 })
          .pipe(toArray()),
      ),
    ).resolves.toEqual([]);
  });

  it('passes metadata, options, deadline and an abort signal to the handler', async () => {
    let seen: FakeCall | undefined;
    const shop = fake({
      get: (_request, call) => {
        seen = call;
        return NEVER;
      },
    });
    const metadata = new Metadata();
    metadata.set('x-tenant', 'shop');
    const call = shop.get({ id: '7' }, metadata, { metadata: { 'x-user': 'me' }, timeoutMs: 60_000 }).subscribe();
    await waitFor(() => seen !== undefined);
    expect(seen!.metadata.getMap()).toEqual({ 'x-tenant': 'shop', 'x-user': 'me' });
    expect(seen!.options.timeoutMs).toBe(60_000);
    expect(seen!.deadline).toBeLessThanOrEqual(Date.now() + 60_000);
    expect(seen!.signal.aborted).toBe(false);
    call.unsubscribe();
    expect(seen!.signal.aborted).toBe(true);
  });

  it('reads requests from an array, an Observable or an async iterable', async () => {
    const shop = fake({
      upload: async (messages) => {
        let count = 0;
        for await (const _message of messages) count += 1;
        return { count };
      },
    });
    const items = [{ id: '1' }, { id: '2' }];
    for (const input of [
      items,
      of(...items),
      (async function* () {
        yield* items;
      })(),
    ]) {
      await expect(firstValueFrom(shop.upload(input))).resolves.toEqual({ count: 2 });
    }
    expect(shop.calls.map(({ request }) => request)).toEqual([items, items, items]);
  });

  it('reads requests one by one and closes their source if the handler returns early', async () => {
    let taken = 0;
    let closed = false;
    const source = (async function* () {
      try {
        for (;;) yield { id: String((taken += 1)) };
      } finally {
        closed = true;
      }
    })();
    const shop = fake({
      async *talk(messages) {
        for await (const { id } of messages) {
          yield { ack: id };
          if (id === '3') return;
        }
      },
    });
    const replies = await lastValueFrom(shop.talk(source).pipe(toArray()));
    expect(replies).toEqual([{ ack: '1' }, { ack: '2' }, { ack: '3' }]);
    expect(taken).toBeLessThanOrEqual(5);
    await waitFor(() => closed);
  });
});

describe('call', () => {
  it('starts no call before a subscription, and one call for each subscription', async () => {
    const handler = vi.fn(() => ({ id: '7' }));
    const shop = fake({ get: handler });
    const call = shop.get({ id: '7' });
    expect(shop.calls).toEqual([]);
    await firstValueFrom(call);
    for await (const item of call) expect(item).toEqual({ id: '7' });
    expect(handler).toHaveBeenCalledTimes(2);
    expect(shop.calls).toEqual([
      expect.objectContaining({ method: 'get', request: { id: '7' }, outcome: 'answered' }),
      expect.objectContaining({ method: 'get', request: { id: '7' }, outcome: 'answered' }),
    ]);
  });

  it('records a call immediately but runs its handler asynchronously', () => {
    const handler = vi.fn(() => ({ id: '7' }));
    const shop = fake({ get: handler });
    shop.get({ id: '7' }).subscribe().unsubscribe();
    expect(shop.calls).toEqual([expect.objectContaining({ method: 'get', outcome: 'cancelled' })]);
    expect(handler).not.toHaveBeenCalled();
  });

  it('pulls at most `prefetch` messages ahead of the reader', async () => {
    let made = 0;
    const shop = fake({
      async *watch() {
        for (;;) yield { sequence: (made += 1) };
      },
    });
    const seen: number[] = [];
    for await (const { sequence } of shop.watch({ from: 0 }, { prefetch: 1 })) {
      seen.push(sequence);
      await new Promise((resolve) => setImmediate(resolve));
      expect(made).toBeLessThanOrEqual(seen.length + 2);
      if (seen.length === 5) break;
    }
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  const endings: [string, (watch: (options?: object) => AsyncIterable<unknown> & Observable<unknown>) => unknown][] = [
    [
      'break',
      async (watch) => {
        for await (const _one of watch()) break;
      },
    ],
    [
      'unsubscribe',
      async (watch) => {
        const seen = vi.fn();
        const call = watch().subscribe(seen);
        await waitFor(() => seen.mock.calls.length > 0);
        call.unsubscribe();
      },
    ],
    [
      'signal',
      async (watch) => {
        const ending = new AbortController();
        setImmediate(() => ending.abort());
        await failureOf(lastValueFrom(watch({ signal: ending.signal })));
      },
    ],
    ['timeoutMs', (watch) => failureOf(lastValueFrom(watch({ timeoutMs: 15 })))],
    ['streamIdleTimeoutMs', (watch) => failureOf(lastValueFrom(watch({ streamIdleTimeoutMs: 15 })))],
  ];
  it.each(endings)('cancels the handler on %s', async (_how, end) => {
    const after = vi.fn();
    const shop = fake({
      async *watch(_request, { signal }) {
        try {
          yield { sequence: 1 };
          await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('left'))));
        } finally {
          after();
        }
      },
    });
    await end((options) => shop.watch({ from: 0 }, options));
    await waitFor(() => after.mock.calls.length === 1);
    expect(shop.calls[0]?.outcome).toBe('cancelled');
  });

  it('fails the pending read of the handler if the call is cancelled, so that an incomplete upload is not taken as complete', async () => {
    const read = vi.fn();
    const shop = fake({
      upload: async (messages) => {
        await failureOf(
          (async () => {
            for await (const _one of messages);
          })(),
        ).then(read);
        return { count: 0 };
      },
    });
    const call = shop.upload(NEVER).subscribe();
    await new Promise((resolve) => setImmediate(resolve));
    call.unsubscribe();
    await waitFor(() => read.mock.calls.length === 1);
    expect(isGrpcCallError(read.mock.calls[0]![0], 'CANCELLED')).toBe(true);
  });

  it('fails with DEADLINE_EXCEEDED after timeoutMs', async () => {
    const error = await failureOf(firstValueFrom(fake({ get: () => NEVER }).get({ id: '7' }, { timeoutMs: 10 })));
    expect(error).toMatchObject({
      codeName: 'DEADLINE_EXCEEDED',
      reason: 'deadline',
      reachedServer: 'maybe',
      client: 'fake',
      path: '/fake/get',
    });
  });

  it.each<[string, NonNullable<FakeHandlers<ShopClient>['get']>]>([
    ['a value', ({ id }) => ({ id })],
    ['of()', ({ id }) => of({ id })],
  ])('records a unary call as answered, not as cancelled, if its handler returns %s', async (_how, handler) => {
    const onEnd = vi.fn();
    const shop = fake({ get: handler });
    await firstValueFrom(shop.get({ id: '7' }, { onEnd }));
    expect(shop.calls[0]?.outcome).toBe('answered');
    expect(onEnd).toHaveBeenCalledTimes(1);
  });

  it('calls onHeaders and onEnd', async () => {
    const onHeaders = vi.fn();
    const onEnd = vi.fn();
    await firstValueFrom(fake({ get: () => ({ id: '7' }) }).get({ id: '7' }, { onHeaders, onEnd }));
    expect(onHeaders).toHaveBeenCalledTimes(1);
    expect(onEnd).toHaveBeenCalledWith(
      expect.objectContaining({ code: 0, attempts: [expect.objectContaining({ number: 1 })] }),
    );
  });

  it('rejects invalid call options', async () => {
    await expect(
      failureOf(firstValueFrom(fake({ get: () => ({ id: '' }) }).get({ id: '' }, { timeoutMs: -1 }))),
    ).resolves.toMatchObject({
      message: expect.stringContaining('timeoutMs: expected a duration in milliseconds above 0'),
    });
  });
});

describe('fakeGrpcService', () => {
  it('provides each method under both names that a stub has', async () => {
    const shop = fake({ get: ({ id }) => ({ id }) }) as unknown as Record<
      string,
      (request: object) => Observable<unknown>
    >;
    await expect(firstValueFrom(shop['Get']!({ id: '7' }))).resolves.toEqual({ id: '7' });
    const upper = fakeGrpcService<{ Get(request: Item): Observable<Item> }>({ Get: (one) => one });
    await expect(firstValueFrom((upper as unknown as typeof shop)['get']!({ id: '8' }))).resolves.toEqual({ id: '8' });
    expect(upper.calls.map(({ method }) => method)).toEqual(['Get']);
  });

  it('has no methods of a promise, an Observable or a Nest lifecycle hook', async () => {
    const shop = fake({});
    expect(await Promise.resolve(shop)).toBe(shop);
    expect(isObservable(shop)).toBe(false);
    expect(() => from(shop as never)).toThrow('where a stream was expected');
    for (const name of ['onModuleInit', 'onApplicationShutdown', 'toJSON'])
      expect(name in shop || (shop as never)[name]).toBeFalsy();
  });

  it('supports spies on its methods', async () => {
    const shop = fake({ get: ({ id }) => ({ id }) });
    vi.spyOn(shop, 'get').mockReturnValue(fake({ get: () => ({ id: 'spied' }) }).get({ id: '' }));
    await expect(firstValueFrom(shop.get({ id: '7' }))).resolves.toEqual({ id: 'spied' });
  });

  it('works with resumable() and replayUnacknowledged()', async () => {
    let broken = 0;
    const shop = fake({
      async *watch({ from }) {
        yield* count(from + 1, from + 2);
        if ((broken += 1) < 3) throw grpcError('UNAVAILABLE', 'gone', { reason: 'connection-lost' });
      },
      async *talk(messages) {
        for await (const { id } of messages) yield { ack: id };
      },
    });
    const feed = resumable((from: number) => shop.watch({ from }), {
      cursor: ({ sequence }) => sequence,
      seed: 0,
      backoff: { maxAttempts: 5, initialBackoffMs: 1, maxBackoffMs: 1 },
    });
    await expect(lastValueFrom(feed.pipe(toArray()))).resolves.toEqual(
      [1, 2, 3, 4, 5, 6].map((sequence) => ({ sequence })),
    );
    expect(shop.calls.map(({ request }) => request)).toEqual([{ from: 0 }, { from: 2 }, { from: 4 }]);
    const session = replayUnacknowledged((outgoing) => shop.talk(outgoing), [{ id: 'a' }, { id: 'b' }], {
      id: ({ id }) => id,
      acknowledges: ({ ack }) => ack,
      maxUnacknowledged: 4,
    });
    await expect(lastValueFrom(session.pipe(toArray()))).resolves.toEqual([{ ack: 'a' }, { ack: 'b' }]);
  });

  it('rejects a handler that is not a function', () => {
    expect(() => fakeGrpcService<ShopClient>({ get: 'x' as never })).toThrow(
      "expected a function as the handler of 'get', got string",
    );
  });

  it("rejects a method named 'calls', which would hide the recorded calls", () => {
    expect(() => fakeGrpcService<{ calls(request: Item): Observable<Item> }>({ calls: (one) => one })).toThrow(
      "fakeGrpcService: cannot fake a service with a method 'calls'",
    );
  });
});

describe('types', () => {
  it('rejects handlers of the wrong type at compile time', () => {
    const wrong = () => [
      // @ts-expect-error: no such method
      fake({ gett: () => ({ id: '' }) }),
      // @ts-expect-error: wrong message
      fake({ get: () => ({ name: '' }) }),
      fake({
        // @ts-expect-error: wrong message in a stream
        async *watch() {
          yield { id: '' };
        },
      }),
      // @ts-expect-error: the request has no such field
      fake({ get: ({ name }) => ({ id: String(name) }) }),
      // @ts-expect-error: the requests of a stream are not an array
      fake({ upload: (messages) => ({ count: messages.length }) }),
    ];
    expect(wrong).toBeTypeOf('function');
  });

  it('narrows the type of a recorded request by its method', () => {
    const shop = fake({});
    for (const call of shop.calls) {
      if (call.method === 'upload') call.request.map(({ id }) => id.toUpperCase());
      else if (call.method === 'watch') call.request.from.toFixed();
    }
    // A fake is assignable to the interface of the service.
    const client: ShopClient = shop;
    expect(client).toBe(shop);
  });
});
