import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it } from 'vitest';
import { EACH_METHOD, callOnce, protoName, scene, settled, turns, upTo } from './support.js';

const payload = Buffer.alloc(64 * 1024);
/** Far above what buffers on both sides hold of messages of this size, far below what a test gives. */
const MANY = 200;

/** Messages of 64 KiB without end, counted as they are taken. */
function endless() {
  const source = {
    taken: 0,
    ended: false,
    *[Symbol.iterator]() {
      try {
        for (;;) yield { number: ++source.taken, payload };
      } finally {
        source.ended = true;
      }
    },
  };
  return source;
}

/** Hands everything on. */
const passing: Interceptor = (options, next) => new InterceptingCall(next(options));
const INTERCEPTED = [
  ['', {}],
  [" under grpc-js's interceptors", { channelOptions: { interceptors: [passing] } }],
  [' under an async interceptor of ours', { interceptors: [{ onAttempt: () => Promise.resolve() }] }],
] as const;

describe('a slow reader', () => {
  it.each(INTERCEPTED)('stops the server%s, and lets it go on by reading', async (_under, settings) => {
    const { echo, server } = await scene(settings);
    const source = endless();
    server.script('ServerStream', { messages: source });
    const reader = echo.serverStream({})[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ number: 1 });
    const stalledAt = await settled(() => source.taken);
    expect(stalledAt).toBeLessThan(MANY);
    for (let number = 2; number <= 2 * MANY; number++) {
      expect((await reader.next()).value).toMatchObject({ number });
    }
    expect(await settled(() => source.taken)).toBeLessThan(3 * MANY);
    await reader.return?.();
    await waitFor(() => server.counts('ServerStream').cancelled === 1);
  });

  it('stops a session both ways, up to the source of its own requests', async () => {
    const { echo } = await scene();
    const source = endless();
    const reader = echo.bidi(source)[Symbol.asyncIterator]();
    await reader.next();
    const stalledAt = await settled(() => source.taken);
    expect(stalledAt).toBeLessThan(MANY);
    for (let i = 0; i < MANY; i++) await reader.next();
    expect(source.taken).toBeGreaterThan(MANY);
    await reader.return?.();
    expect(source.ended).toBe(true);
  });
});

describe('a server that does not read', () => {
  const cases = INTERCEPTED.flatMap(([under, settings]) =>
    (['clientStream', 'bidi'] as const).map((method) => [method, under, settings] as const),
  );
  it.each(cases)('stops the source of requests of %s%s', async (method, _under, settings) => {
    const { echo, server } = await scene(settings);
    server.script(protoName(method), { requests: 'leave', never: true });
    const source = endless();
    const subscription = echo[method](source).subscribe();
    await waitFor(() => source.taken > 0);
    expect(await settled(() => source.taken)).toBeLessThan(MANY);
    subscription.unsubscribe();
    expect(source.ended).toBe(true);
  });
});

describe('prefetch', () => {
  /** Messages that the client has read for a reader who took one. */
  async function readAhead(options: { methods?: Record<string, { prefetch: number }> }, prefetch?: number) {
    const { echo, server, client } = await scene(options);
    server.script('ServerStream', { messages: upTo(200), never: true });
    const reader = echo.serverStream({}, { prefetch })[Symbol.asyncIterator]();
    await reader.next();
    return settled(() => client.activeCalls()[0]!.received - 1);
  }

  it.each([
    ['16 where nothing is said', {}, undefined, 16],
    ["the method's", { methods: { ServerStream: { prefetch: 3 } } }, undefined, 3],
    ["the call's, in place of the method's", { methods: { ServerStream: { prefetch: 3 } } }, 40, 40],
    ['one, at least', {}, 1, 1],
  ])('is how far a stream is read ahead of its reader: %s', async (_what, options, prefetch, ahead) => {
    expect(await readAhead(options, prefetch)).toBe(ahead);
  });

  it.each([0, 1.5, NaN, 'many' as never])('of %j is refused by its path', async (prefetch) => {
    const { echo } = await scene();
    const reader = echo.serverStream({}, { prefetch })[Symbol.asyncIterator]();
    await expect(reader.next()).rejects.toThrow(
      'echo/testing.v1.Echo/ServerStream: options.prefetch: expected an integer of 1 or more, got ',
    );
  });
});

describe('an iterator', () => {
  it.each(EACH_METHOD)('of %s that is made and returned starts nothing', async (method) => {
    const { echo, server, client } = await scene();
    const reader = callOnce(echo, method)[Symbol.asyncIterator]();
    await turns();
    expect(client.activeCalls()).toEqual([]);
    await reader.return?.();
    expect(await reader.next()).toEqual({ done: true, value: undefined });
    await turns();
    expect(client.snapshot().counters.started).toBe(0);
    expect(server.counts().calls).toBe(0);
    expect(client.connectivity.state).toBe('IDLE');
  });

  it.each(['serverStream', 'bidi'] as const)(
    'of %s that is left by break cancels the call on the wire',
    async (method) => {
      const { echo, server, client } = await scene();
      server.script(protoName(method), {
        messages: [{ number: 1 }, { number: 2 }],
        never: true,
      });
      for await (const { number } of callOnce(echo, method)) {
        if (number === 2) break;
      }
      expect(client.activeCalls()).toEqual([]);
      await waitFor(() => server.counts().cancelled === 1);
    },
  );

  it('that is left by an error of its reader cancels the call too', async () => {
    const { echo, server } = await scene();
    server.script('ServerStream', { messages: [{ number: 1 }], never: true });
    const read = async () => {
      for await (const _ of echo.serverStream({})) throw new Error('enough');
    };
    await expect(read()).rejects.toThrow('enough');
    await waitFor(() => server.counts().cancelled === 1);
  });

  it('answers several next() at once in order, and ends those left over', async () => {
    const { echo } = await scene();
    const reader = echo.serverStream({ number: 3 })[Symbol.asyncIterator]();
    const results = await Promise.all(Array.from({ length: 5 }, () => reader.next()));
    expect(results.map(({ done, value }) => (done === true ? 'end' : (value as { number: number }).number))).toEqual([
      1,
      2,
      3,
      'end',
      'end',
    ]);
  });

  it('tells a failure once, then is at its end', async () => {
    const { echo, server } = await scene();
    server.script('ServerStream', { status: 'ABORTED' });
    const reader = echo.serverStream({})[Symbol.asyncIterator]();
    await expect(reader.next()).rejects.toMatchObject({ code: 10 });
    expect(await reader.next()).toEqual({ done: true, value: undefined });
  });
});
