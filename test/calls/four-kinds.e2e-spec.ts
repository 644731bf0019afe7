import type { Metadata } from '@grpc/grpc-js';
import type { CallEnd, GrpcCallOptions } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { EMPTY, firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { EACH_METHOD, callOnce, failureOf, protoName, scene, toList, upTo } from './support.js';

const SINGLE_RESPONSE = ['unary', 'unsafeUnary', 'clientStream'] as const;

describe('response messages', () => {
  it('delivers the messages of each kind of call to a subscriber', async () => {
    const { echo } = await scene();
    expect(await firstValueFrom(echo.unary({ text: 'tea', number: 7 }))).toMatchObject({ text: 'tea', number: 7 });
    expect(await firstValueFrom(echo.clientStream(upTo(5)))).toMatchObject({ number: 5 });
    expect(await lastValueFrom(echo.serverStream({ number: 100 }).pipe(toArray()))).toMatchObject(upTo(100));
    expect(await lastValueFrom(echo.bidi(upTo(50)).pipe(toArray()))).toMatchObject(upTo(50));
  });

  it('delivers the messages of each kind of call to a `for await` loop', async () => {
    const { echo } = await scene();
    expect(await toList(echo.unary({ text: 'tea' }))).toMatchObject([{ text: 'tea' }]);
    expect(await toList(echo.clientStream(upTo(5)))).toMatchObject([{ number: 5 }]);
    expect(await toList(echo.serverStream({ number: 100 }))).toMatchObject(upTo(100));
    expect(await toList(echo.bidi(upTo(50)))).toMatchObject(upTo(50));
  });

  it('completes calls with empty streams for a subscriber and for a `for await` loop', async () => {
    const { echo } = await scene();
    expect(await toList(echo.serverStream({ number: 0 }))).toEqual([]);
    expect(await lastValueFrom(echo.serverStream({}).pipe(toArray()))).toEqual([]);
    expect(await toList(echo.bidi(EMPTY))).toEqual([]);
    expect(await lastValueFrom(echo.bidi([]).pipe(toArray()))).toEqual([]);
    expect(await toList(echo.clientStream([]))).toHaveLength(1);
  });

  it('makes one call per subscription and per `for await` loop', async () => {
    const { echo, server } = await scene();
    const call = echo.unary({ text: 'tea' });
    expect(server.counts().calls).toBe(0);
    await firstValueFrom(call);
    await firstValueFrom(call);
    await toList(call);
    expect(server.counts('Unary').calls).toBe(3);
  });

  it('offers each method under its proto name and its camelCase name', async () => {
    const { client } = await scene();
    const service = client.getService<Record<string, never>>('testing.v1.Echo');
    expect(Object.keys(service)).toEqual(
      expect.arrayContaining(EACH_METHOD.flatMap((method) => [method, protoName(method)])),
    );
  });
});

describe('onHeaders and onEnd', () => {
  it.each(EACH_METHOD)('calls onHeaders and onEnd with the headers and the end of a %s call', async (method) => {
    const { echo, server } = await scene();
    const name = protoName(method);
    server.script(name, { headers: { 'x-served-by': 'a' }, messages: [{ number: 1 }], trailers: { 'x-cost': '3' } });
    const headers: Metadata[] = [];
    const ends: CallEnd[] = [];
    const call = callOnce(echo, method, {
      onHeaders: (metadata) => headers.push(metadata),
      onEnd: (end) => ends.push(end),
    });
    expect(await toList(call)).toHaveLength(1);
    await lastValueFrom(call);
    expect(headers.map((metadata) => metadata.get('x-served-by'))).toEqual([['a'], ['a']]);
    expect(ends).toHaveLength(2);
    expect(ends[0]).toMatchObject({ code: 0, peer: server.url, attempts: [{ number: 1, code: 0 }] });
    expect(ends[0]?.trailers.get('x-cost')).toEqual(['3']);
    expect(ends[0]?.durationMs).toBeGreaterThan(0);
  });

  const bug = new Error('a bug in the listener');
  const throws = () => {
    throw bug;
  };
  const rejects = (): unknown => Promise.reject(bug);

  it.each<[string, 'uncaughtException' | 'unhandledRejection', GrpcCallOptions]>([
    ['onEnd throws', 'uncaughtException', { onEnd: throws }],
    ['onHeaders throws', 'uncaughtException', { onHeaders: throws }],
    ['onEnd returns a promise that rejects', 'unhandledRejection', { onEnd: rejects }],
    ['onHeaders returns a promise that rejects', 'unhandledRejection', { onHeaders: rejects }],
  ])('completes a call even if its %s, and reports the error as %s', async (_what, event, options) => {
    const thrown: unknown[] = [];
    const note = (error: unknown) => void thrown.push(error);
    const before = process.listeners(event as 'uncaughtException');
    process.removeAllListeners(event).on(event, note);
    try {
      const { echo } = await scene();
      expect(await firstValueFrom(echo.unary({ text: 'tea' }, options))).toMatchObject({ text: 'tea' });
      await waitFor(() => thrown.length > 0);
      expect(thrown).toEqual([bug]);
    } finally {
      process.off(event, note);
      for (const listener of before) process.on(event, listener);
    }
  });
});

describe('server status', () => {
  const details = Buffer.from([8, 5, 18, 3, 97, 98, 99]);
  const trailers = { 'x-why': ['sold', 'expired'], 'grpc-status-details-bin': details };

  it.each(EACH_METHOD)(
    'delivers the status from the server unchanged, with its trailers, to the caller of a %s call',
    async (method) => {
      const { echo, server } = await scene();
      const name = protoName(method);
      server.script(name, { status: 'NOT_FOUND', details: 'no such order: ☕', trailers });
      const ends: CallEnd[] = [];
      const call = callOnce(echo, method, { onEnd: (end) => ends.push(end) });
      for (const error of [await failureOf(call), await failureOf(toList(call))]) {
        expect(error).toMatchObject({ code: 5, codeName: 'NOT_FOUND', details: 'no such order: ☕', reason: 'server' });
        expect(error.message).toBe('5 NOT_FOUND: no such order: ☕');
        expect(error.metadata.get('x-why').join()).toBe('sold, expired');
        expect(error.metadata.get('grpc-status-details-bin')).toEqual([details]);
        expect(error).toMatchObject({ reachedServer: 'yes', notRetriedBecause: 'fatal-status', peer: server.url });
        expect(error.path).toBe(`/testing.v1.Echo/${name}`);
      }
      expect(server.counts(name).calls).toBe(2);
      expect(ends.map(({ code, trailers: { get: _, ...rest } }) => ({ code, rest }))).toHaveLength(2);
      expect(ends[0]).toMatchObject({ code: 5, attempts: [{ number: 1, code: 5 }] });
      expect(ends[0]?.trailers.get('grpc-status-details-bin')).toEqual([details]);
    },
  );

  it.each(['serverStream', 'bidi'] as const)('delivers the status of a %s call after its messages', async (method) => {
    const { echo, server } = await scene();
    const name = protoName(method);
    server.script(name, { messages: upTo(3), status: 'DATA_LOSS', details: 'torn', trailers });
    const pushed: number[] = [];
    const pushError = await new Promise<unknown>((resolve) => {
      callOnce(echo, method).subscribe({ next: ({ number }) => pushed.push(number), error: resolve });
    });
    const pulled: number[] = [];
    const pullError = await failureOf(
      (async () => {
        for await (const { number } of callOnce(echo, method)) pulled.push(number);
      })(),
    );
    expect(pushed).toEqual([1, 2, 3]);
    expect(pulled).toEqual([1, 2, 3]);
    for (const error of [pushError, pullError]) {
      expect(error).toMatchObject({ code: 15, details: 'torn', reachedServer: 'yes', notRetriedBecause: 'committed' });
    }
  });

  it('reports UNKNOWN with the received number for a status that gRPC does not define', async () => {
    const { echo, server } = await scene();
    server.script('UnsafeUnary', { status: 99, details: 'odd' });
    expect(await failureOf(echo.unsafeUnary({}))).toMatchObject({ code: 2, details: expect.stringContaining('99') });
  });
});

describe('single response', () => {
  it.each(SINGLE_RESPONSE)('delivers the response of a %s call only after the status OK', async (method) => {
    const { echo, server, client } = await scene();
    const name = protoName(method);
    server.script(name, { message: { number: 1 }, hold: 'status' });
    const values: unknown[] = [];
    const ended = new Promise<void>((resolve) => {
      callOnce(echo, method).subscribe({ next: (value) => values.push(value), complete: resolve });
    });
    await waitFor(() => client.activeCalls()[0]?.received === 1);
    expect(values).toEqual([]);
    server.release();
    await ended;
    expect(values).toMatchObject([{ number: 1 }]);
  });

  it.each(SINGLE_RESPONSE)('drops the response of a %s call that fails after the response', async (method) => {
    const { echo, server } = await scene();
    const name = protoName(method);
    server.script(name, { messages: [{ number: 1 }], status: 'ABORTED', details: 'after all' });
    const values: unknown[] = [];
    const error = await new Promise<unknown>((resolve) => {
      callOnce(echo, method).subscribe({ next: (value) => values.push(value), error: resolve });
    });
    expect(values).toEqual([]);
    expect(error).toMatchObject({ code: 10, details: 'after all', reachedServer: 'yes' });
  });

  it.each([
    ['without the path', 'Method not found!', 'Method not found! (/testing.v1.Echo/Unary)'],
    ['with the path', 'no method /testing.v1.Echo/Unary', 'no method /testing.v1.Echo/Unary'],
  ])(
    'names the path of an unimplemented method once if the server sends status details %s',
    async (_how, details, message) => {
      const { echo, server } = await scene();
      server.script('Unary', { status: 'UNIMPLEMENTED', details });
      expect(await failureOf(echo.unary({}))).toMatchObject({ details, message: `12 UNIMPLEMENTED: ${message}` });
    },
  );

  it.each(SINGLE_RESPONSE)(
    'fails a %s call with UNIMPLEMENTED if the server sends more than one message',
    async (method) => {
      const { echo, server } = await scene();
      const name = protoName(method);
      server.script(name, {
        messages: function* () {
          for (;;) yield { number: 1 };
        },
      });
      expect(await failureOf(callOnce(echo, method))).toMatchObject({
        code: 12,
        details: 'Too many responses received',
        reason: 'protocol',
        reachedServer: 'yes',
      });
      await waitFor(() => server.counts().cancelled === 1);
    },
  );

  it.each(SINGLE_RESPONSE)('fails a %s call with UNIMPLEMENTED if the server sends no message', async (method) => {
    const { echo, server } = await scene();
    const name = protoName(method);
    server.script(name, { messages: [] });
    const error = await failureOf(callOnce(echo, method));
    expect(error).toMatchObject({ code: 12, details: 'No message received', reason: 'protocol', reachedServer: 'yes' });
    expect(server.counts(name).calls).toBe(1);
  });
});
